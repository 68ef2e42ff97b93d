// What TLC prints with -tool: messages with a number, between two marker lines (tlc2/output/EC.java, MP.java).

/** One state of a counterexample and the action that led to it. */
export interface Step {
  readonly action: string;
  /** The text of each variable. */
  readonly state: ReadonlyMap<string, string>;
}

/** States found, states that differ, and the longest way to one of them. */
export interface Totals {
  readonly generated: number;
  readonly distinct: number;
  readonly depth: number;
}

const START = /^@!@!@STARTMSG (\d+):\d+ @!@!@$/;
const END = /^@!@!@ENDMSG \d+ @!@!@$/;

const Message = {
  violatedInitially: 2107,
  violated: 2110,
  success: 2193,
  depth: 2194,
  stats: 2199,
  progress: 2200,
  state: 2217,
  covered: 2772,
} as const;

/** Reads the lines as they come. */
export class OutputParser {
  readonly #onCount: ((totals: Totals) => void) | undefined;
  #code: number | undefined;
  #lines: string[] = [];
  #violated: string | undefined;
  #isComplete = false;
  #totals: Totals = { generated: 0, distinct: 0, depth: 0 };
  readonly #trace: Step[] = [];
  readonly #actions = new Map<string, number>();

  constructor(onCount?: (totals: Totals) => void) {
    this.#onCount = onCount;
  }

  take(line: string): void {
    const start = START.exec(line);
    if (start !== null) {
      this.#code = Number(start[1]);
      this.#lines = [];
    } else if (END.test(line)) {
      if (this.#code !== undefined) this.#message(this.#code, this.#lines.join('\n'));
      this.#code = undefined;
    } else this.#lines.push(line);
  }

  result(): {
    readonly violated: string | undefined;
    readonly isComplete: boolean;
    readonly totals: Totals;
    readonly trace: readonly Step[];
    readonly actions: ReadonlyMap<string, number>;
  } {
    return {
      violated: this.#violated,
      isComplete: this.#isComplete,
      totals: this.#totals,
      trace: this.#trace,
      actions: this.#actions,
    };
  }

  #message(code: number, text: string): void {
    switch (code) {
      case Message.violated:
      case Message.violatedInitially:
        this.#violated = /Invariant (\w+) is violated/.exec(text)?.[1] ?? text;
        break;
      case Message.success:
        this.#isComplete = true;
        break;
      case Message.stats:
        this.#count(text, this.#totals.depth);
        break;
      case Message.progress:
        this.#count(text, Number(/^Progress\((\d+)\)/.exec(text)?.[1] ?? 0));
        this.#onCount?.(this.#totals);
        break;
      case Message.depth:
        this.#totals = { ...this.#totals, depth: Number(/search is (\d+)/.exec(text)?.[1] ?? 0) };
        break;
      case Message.state:
        this.#trace.push(stepOf(text));
        break;
      case Message.covered: {
        const found = /^<(\w+) .*>: \d+:(\d+)/.exec(text);
        if (found !== null) this.#actions.set(found[1] as string, Number(found[2]));
        break;
      }
    }
  }

  #count(text: string, depth: number): void {
    const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1]?.replaceAll(',', '') ?? 0);
    const generated = number(/([\d,]+) states generated/);
    const distinct = number(/([\d,]+) distinct states/);
    this.#totals = { generated, distinct, depth };
  }
}

function stepOf(text: string): Step {
  const action = /^\d+: <(\w+)/.exec(text)?.[1] ?? 'Initial state';
  const [, ...parts] = text.split(/^\/\\ /m);
  const state = parts.map((part) => {
    const at = part.indexOf(' = ');
    return [
      part.slice(0, at),
      part
        .slice(at + 3)
        .replaceAll(/\s+/g, ' ')
        .replaceAll('[none |-> TRUE]', 'None')
        .trim(),
    ] as const;
  });
  return { action: action === 'Initial' ? 'Initial state' : action, state: new Map(state) };
}

/** A counterexample for people: each action with what it changed. */
export function formatTrace(trace: readonly Step[]): string {
  return trace
    .map(({ action, state }, i) => {
      const before = trace[i - 1]?.state;
      const changed = [...state].filter(([name, value]) => before !== undefined && before.get(name) !== value);
      return [
        `${String(i + 1).padStart(3)}  ${action}`,
        ...changed.map(([name, value]) => `       ${name} = ${value}`),
      ].join('\n');
    })
    .join('\n');
}
