import type { Logger } from './logger.ts';

/** What is refused for lack of memory or of rights is refused thousands of times a second. */
const SILENT_MS = 60_000;
const MAX_KNOWN = 64;
const MAX_CHARS = 200;

/** Tells the log what a server refuses and why (no right to do it, no memory, a replica that takes no writes): each kind once a minute. */
export class Refusals {
  readonly #server: string;
  readonly #logger: Logger;
  readonly #toldAtMs = new Map<string, number>();

  /** @param server as the log calls it */
  constructor(server: string, logger: Logger) {
    this.#server = server;
    this.#logger = logger;
  }

  /** @param message as the server put it, its code first */
  note(command: string, message: string, nowMs: number): void {
    const [code = ''] = message.split(' ', 1);
    const kind = `${command} ${code}`;
    const toldAtMs = this.#toldAtMs.get(kind);
    if (toldAtMs === undefined ? this.#toldAtMs.size >= MAX_KNOWN : nowMs - toldAtMs < SILENT_MS) return;
    this.#toldAtMs.set(kind, nowMs);
    // Of a command that it does not know Redis repeats the arguments, which are keys and values.
    const refusal = (message.split(', with args', 1)[0] as string).slice(0, MAX_CHARS);
    this.#logger.warn({ command, refusal }, `${this.#server} refuses a command`);
  }
}
