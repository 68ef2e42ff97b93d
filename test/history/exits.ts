import { describeExit, type ProcessEvent } from '../kit/index.ts';

const keptLines = 24;
const keptChars = 600;
const servers: ReadonlySet<string> = new Set(['postgres', 'kafka', 'redis']);

/** Tells processes of ours that ended by themselves from those that were ended: whatever fails, they must live on. */
export class Exits {
  /** Which of ours ended by itself, how, and the last that it said. */
  readonly ours: string[] = [];
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

  event({ kind, name, ...event }: ProcessEvent): void {
    if (kind !== 'exit' || !('exit' in event) || this.isOver || servers.has(name)) return;
    const at = this.#expected.indexOf(name);
    if (at >= 0) this.#expected.splice(at, 1);
    else {
      const said = (this.#lines.get(name) ?? []).map((line) => `  ${line}`);
      this.ours.push([`${name} ended by itself with ${describeExit(event.exit)}`, ...said].join('\n'));
    }
  }
}
