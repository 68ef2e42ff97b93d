import type { Logger } from './logger.ts';

/** What is refused for lack of memory or of rights is refused thousands of times a second. */
const SILENT_MS = 60_000;
const MAX_KNOWN = 64;
/** An answer that belongs to the protocol: the script is sent whole then. */
const EXPECTED = 'NOSCRIPT';
const MAX_CHARS = 200;

/** Tells the log what Redis refuses and why (no right to do it, no memory, a replica that takes no writes): each kind once a minute. */
export class RedisRefusals {
  readonly #logger: Logger;
  readonly #toldAtMs = new Map<string, number>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** @param message as the server put it, its code first */
  note(command: string, message: string, nowMs: number): void {
    const [code = ''] = message.split(' ', 1);
    if (code === EXPECTED) return;
    const kind = `${command} ${code}`;
    const toldAtMs = this.#toldAtMs.get(kind);
    if (toldAtMs === undefined ? this.#toldAtMs.size >= MAX_KNOWN : nowMs - toldAtMs < SILENT_MS) return;
    this.#toldAtMs.set(kind, nowMs);
    // Of a command that it does not know it repeats the arguments, which are keys and values.
    const refusal = (message.split(', with args', 1)[0] as string).slice(0, MAX_CHARS);
    this.#logger.warn({ command, refusal }, 'Redis refuses a command');
  }
}
