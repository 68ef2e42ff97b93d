import { describeExit, type ProcessEvent } from '../kit/index.ts';

const keptLines = 8;
const keptChars = 600;

/** Tells processes that ended by themselves from those that were ended. */
export class Exits {
  /** What ended by itself: its name, how, and the last that it said. */
  readonly unexpected: string[] = [];
  /** From now on everything is ended. */
  isOver = false;
  readonly #expected: string[] = [];
  readonly #lines = new Map<string, string[]>();

  /** It is about to be ended. */
  ending(name: string): void {
    this.#expected.push(name);
  }

  line(name: string, line: string): void {
    const lines = [...(this.#lines.get(name) ?? []), line.slice(0, keptChars)];
    this.#lines.set(name, lines.slice(-keptLines));
  }

  event(event: ProcessEvent): void {
    if (event.kind !== 'exit' || this.isOver) return;
    const { name, exit } = event;
    const at = this.#expected.indexOf(name);
    if (at >= 0) this.#expected.splice(at, 1);
    else this.unexpected.push([`${name}, ${describeExit(exit)}`, ...(this.#lines.get(name) ?? [])].join('\n    '));
  }
}
