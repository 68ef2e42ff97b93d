import { styleText } from 'node:util';
import type { Paint, Screen } from './view.ts';

const escape = '\u001B[';
const enter = `${escape}?1049h${escape}?25l`; // the alternate screen, without a cursor
const leave = `${escape}?25h${escape}?1049l`;
const home = `${escape}H`;
const clearToLineEnd = `${escape}K`;
const clearBelow = `${escape}J`;

export const paint: Paint = (style, text) => styleText(style, text, { stream: process.stdout });

/** A screen that is redrawn in place; what the terminal showed before comes back at the end. */
export class Terminal {
  readonly #onExit = (): void => {
    process.stdout.write(leave);
  };

  /** @param onKey gets each key as it is pressed; Ctrl-C is `\u0003` */
  open(onKey: (key: string) => void): void {
    process.stdout.write(enter);
    process.once('exit', this.#onExit);
    if (!process.stdin.isTTY) return;
    process.stdin.setRawMode(true).setEncoding('utf8');
    process.stdin.on('data', (keys: string) => keys.split('').forEach((key) => onKey(key)));
    process.stdin.on('error', () => undefined); // the terminal is gone: a SIGHUP ends the demo
  }

  get screen(): Screen {
    // A pseudo-terminal that nobody gave a size (docker exec, script) says 0.
    return { columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 };
  }

  draw(lines: readonly string[]): void {
    process.stdout.write(home + lines.map((line) => `${line}${clearToLineEnd}`).join('\r\n') + clearBelow);
  }

  close(): void {
    process.off('exit', this.#onExit);
    process.stdout.write(leave);
    if (!process.stdin.isTTY) return;
    process.stdin.setRawMode(false).pause().removeAllListeners('data');
  }
}
