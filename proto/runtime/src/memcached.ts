import { createHash } from 'node:crypto';
import { DeadlineError, Deadlines } from './deadline.ts';
import type { Logger } from './logger.ts';
import { MemcachedConnection, MemcachedUnavailableError } from './memcached-connection.ts';
import type { MemcachedReply } from './memcached-replies.ts';
import { parseMemcachedUrl } from './memcached-url.ts';
import { Refusals } from './refusals.ts';

export { MemcachedUnavailableError } from './memcached-connection.ts';

/** The server refused a command, and said why; whether it was done is known: it was not. */
export class MemcachedError extends Error {
  override name = 'MemcachedError';
}

export interface MemcachedValue {
  readonly value: Buffer;
  /** What {@link MemcachedClient.cas} compares. */
  readonly cas: string;
}

/**
 * The commands of one memcached or several, each key at the server that the rendezvous of their names gives it. No call waits
 * longer than the deadline. Nothing is queued while a server is away: its commands reject at once, and no other server stands
 * in for it. Rejects with {@link MemcachedError}, {@link DeadlineError} or {@link MemcachedUnavailableError}; after the latter two
 * the command may have been done, or may still be.
 */
export interface MemcachedClient {
  /** Whether commands are sent to at least one server. */
  readonly isUp: boolean;
  gets(key: string): Promise<MemcachedValue | undefined>;
  /** False where there is a value already. `ttlS`: whole seconds, at least 1. */
  add(key: string, value: Uint8Array, ttlS: number): Promise<boolean>;
  set(key: string, value: Uint8Array, ttlS: number): Promise<void>;
  /** Replaces the value that was read. `changed`: it is another one by now; `missing`: there is none. */
  cas(
    key: string,
    value: Uint8Array,
    options: { readonly ttlS: number; readonly cas: string },
  ): Promise<'stored' | 'changed' | 'missing'>;
  /** False where there was none. */
  delete(key: string): Promise<boolean>;
  /** Deletes the value that was read; false where it is another one by now, or none. */
  deleteIf(key: string, cas: string): Promise<boolean>;
  /** Asks every server for its version, which also finds out that one that was away answers again. Never rejects. */
  probe(): Promise<void>;
  /** Cuts the connections. */
  close(): void;
}

export interface MemcachedClientOptions {
  /** For every command. */
  readonly deadlineMs: number;
  readonly logger: Logger;
  /** Longest value that is sent, or accepted. */
  readonly maxValueBytes: number;
  /** Commands without an answer at any time and server. */
  readonly maxInFlight?: number;
  /** Told whenever {@link MemcachedClient.isUp} changes. */
  readonly onChange?: (isUp: boolean) => void;
}

/** So many deadlines in a row mean that a server is away, whatever the socket says: further commands then reject at once. */
const MAX_MISSED_DEADLINES = 5;
/** While a server is taken for away, one command in this time is let through to see. */
const PROBE_EVERY_MS = 100;
/** Anything beyond it memcached reads as a time since 1970 (doc/protocol.txt, "Expiration times"). */
const MAX_RELATIVE_TTL_S = 30 * 24 * 3600;
const NOTHING = new Uint8Array(0);
const KEY = /^[\x21-\x7e]{1,250}$/;

/** Connects in the background, for ever: a memcached that is away costs nothing but the rejected commands. Throws for a malformed URL. */
export function createMemcached(url: string, options: MemcachedClientOptions): MemcachedClient {
  const { nodes, prefix, username, password } = parseMemcachedUrl(url);
  const { logger, onChange } = options;
  let wasUp = false;
  const noteChange = (): void => {
    const isUp = servers.some((server) => server.isUp);
    if (isUp === wasUp) return;
    wasUp = isUp;
    onChange?.(isUp);
  };
  const servers = nodes.map((node) => new Server({ ...options, ...node, username, password, logger, noteChange }));
  const ask = (key: string, parts: readonly (string | Uint8Array)[]): Promise<MemcachedReply> =>
    chosen(servers, key).ask(parts);
  const named = (key: string): string => {
    const full = `${prefix}${key}`;
    if (!KEY.test(full)) throw new RangeError('expected a key of 1 to 250 printable ASCII characters without spaces');
    return full;
  };
  const store = async (command: string, key: string, value: Uint8Array, tail: string): Promise<string> => {
    const { maxValueBytes } = options;
    if (value.length > maxValueBytes)
      throw new MemcachedError(`found a value of ${value.length} bytes, expected at most ${maxValueBytes}`);
    return lineOf(await ask(key, [`${command} ${key} 0 ${tail}\r\n`, value, '\r\n']));
  };
  return {
    get isUp() {
      return servers.some((server) => server.isUp);
    },
    async gets(name) {
      const key = named(name);
      const reply = await ask(key, [`gets ${key}\r\n`]);
      if (reply.kind === 'nothing') return undefined;
      // Another key's value would mean that replies are out of step.
      if (reply.kind === 'value' && reply.key === key) return { value: reply.value, cas: reply.cas };
      if (reply.kind === 'too-large')
        throw new MemcachedError(`found a value of ${reply.bytes} bytes, expected at most ${options.maxValueBytes}`);
      throw unexpected(reply);
    },
    async add(name, value, ttlS) {
      const line = await store('add', named(name), value, `${exptime(ttlS)} ${value.length}`);
      return oneOf(line, { STORED: true, NOT_STORED: false });
    },
    async set(name, value, ttlS) {
      oneOf(await store('set', named(name), value, `${exptime(ttlS)} ${value.length}`), { STORED: undefined });
    },
    async cas(name, value, { ttlS, cas }) {
      const line = await store('cas', named(name), value, `${exptime(ttlS)} ${value.length} ${cas}`);
      return oneOf(line, { STORED: 'stored', EXISTS: 'changed', NOT_FOUND: 'missing' } as const);
    },
    async delete(name) {
      const key = named(name);
      return oneOf(lineOf(await ask(key, [`delete ${key}\r\n`])), { DELETED: true, NOT_FOUND: false });
    },
    async deleteIf(name, cas) {
      // There is no such command, but what is stored with a TTL below 0 is gone at once.
      const line = await store('cas', named(name), NOTHING, `-1 0 ${cas}`);
      return oneOf(line, { STORED: true, EXISTS: false, NOT_FOUND: false });
    },
    async probe() {
      await Promise.allSettled(servers.map((server) => server.ask(['version\r\n'])));
    },
    close() {
      for (const server of servers) server.close();
    },
  };
}

/** A connection, and what is thought of the server behind it. */
class Server {
  readonly name: string;
  readonly #connection: MemcachedConnection;
  readonly #deadlines: Deadlines;
  readonly #logger: Logger;
  readonly #refusals: Refusals;
  readonly #noteChange: () => void;
  #missed = 0;
  #probedAt = 0;
  #wasUp = false;
  #lastError = '';

  constructor(
    options: MemcachedClientOptions & {
      readonly host: string;
      readonly port: number;
      readonly username: string | undefined;
      readonly password: string | undefined;
      readonly noteChange: () => void;
    },
  ) {
    const { host, port, deadlineMs, maxInFlight = 10_000 } = options;
    this.name = `${host}:${port}`;
    this.#logger = options.logger;
    this.#refusals = new Refusals('memcached', options.logger);
    this.#noteChange = options.noteChange;
    this.#deadlines = new Deadlines(`memcached at ${this.name}`, deadlineMs);
    this.#connection = new MemcachedConnection({
      ...options,
      maxInFlight,
      silenceMs: Math.max(1000, 4 * deadlineMs),
      onReady: () => {
        this.#missed = 0;
        this.#lastError = '';
        this.#note();
      },
      onLost: (error) => {
        // Every attempt fails alike, so the same message is told once.
        if (error.message !== this.#lastError) this.#logger.warn({ err: error }, 'the connection to memcached failed');
        this.#lastError = error.message;
        this.#note();
      },
    });
  }

  get isUp(): boolean {
    return this.#connection.isReady && this.#missed < MAX_MISSED_DEADLINES;
  }

  async ask(parts: readonly (string | Uint8Array)[]): Promise<MemcachedReply> {
    if (this.#missed >= MAX_MISSED_DEADLINES) {
      const now = performance.now();
      if (now - this.#probedAt < PROBE_EVERY_MS)
        throw new MemcachedUnavailableError(`memcached at ${this.name} does not answer`);
      this.#probedAt = now;
    }
    const sent = this.#connection.send(parts);
    // Also late answers show that it is there.
    sent.then(this.#answered, () => undefined);
    try {
      const reply = await this.#deadlines.race(sent);
      if (reply.kind === 'failed') this.#refusals.note(commandOf(parts), reply.message, performance.now());
      return reply;
    } catch (error) {
      if (error instanceof DeadlineError) {
        this.#missed += 1;
        this.#note();
      }
      throw error;
    }
  }

  close(): void {
    this.#connection.close();
  }

  readonly #answered = (): void => {
    if (this.#missed === 0) return;
    this.#missed = 0;
    this.#note();
  };

  #note(): void {
    if (this.isUp === this.#wasUp) return;
    this.#wasUp = !this.#wasUp;
    const { name: server } = this;
    if (this.#wasUp) this.#logger.info({ server }, 'memcached answers');
    else
      this.#logger.warn(
        { server, reason: this.#connection.isReady ? 'no answers' : 'no connection' },
        'memcached is away',
      );
    this.#noteChange();
  }
}

/**
 * Rendezvous hashing (Thaler and Ravishankar, 1998): the server whose name and the key score highest. A server that joins or goes
 * takes or leaves only its own share of the keys, and every client with the same list agrees.
 */
function chosen(servers: readonly Server[], key: string): Server {
  let best = servers[0] as Server;
  if (servers.length === 1) return best;
  let highest = '';
  for (const server of servers) {
    const score = createHash('sha1').update(`${server.name} ${key}`).digest('latin1');
    if (score > highest) [best, highest] = [server, score];
  }
  return best;
}

/** Keys come behind it. */
function commandOf([first = '']: readonly (string | Uint8Array)[]): string {
  return String(first).split(' ', 1)[0] as string;
}

function exptime(ttlS: number): number {
  if (!Number.isSafeInteger(ttlS) || ttlS < 1)
    throw new RangeError(`found a TTL of ${ttlS} s, expected a whole number from 1`);
  return ttlS <= MAX_RELATIVE_TTL_S ? ttlS : Math.floor(Date.now() / 1000) + ttlS;
}

function lineOf(reply: MemcachedReply): string {
  if (reply.kind === 'line') return reply.text;
  throw unexpected(reply);
}

function oneOf<T>(line: string, answers: Readonly<Record<string, T>>): T {
  if (!Object.hasOwn(answers, line)) throw unexpected({ kind: 'line', text: line });
  return answers[line] as T;
}

function unexpected(reply: MemcachedReply): MemcachedError {
  if (reply.kind === 'failed') return new MemcachedError(`memcached refused a command: ${reply.message}`);
  const found = reply.kind === 'line' ? JSON.stringify(reply.text.slice(0, 100)) : `a reply of kind ${reply.kind}`;
  return new MemcachedError(`memcached answered ${found}, which is no answer to the command`);
}
