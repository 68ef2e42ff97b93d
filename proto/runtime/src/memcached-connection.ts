import { connect, type Socket } from 'node:net';
import { Backoff } from './backoff.ts';
import { type MemcachedReply, MemcachedProtocolError, MemcachedReplies } from './memcached-replies.ts';

/** Memcached cannot be asked at the moment, or the connection ended before it answered. */
export class MemcachedUnavailableError extends Error {
  override name = 'MemcachedUnavailableError';
}

export interface MemcachedConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** A server that leaves a command unanswered for so long is left for a fresh connection. */
  readonly silenceMs: number;
  readonly maxInFlight: number;
  /** Longest value that is accepted from it. */
  readonly maxValueBytes: number;
  /** Told when commands can be sent, and when they cannot any more, with the reason. */
  readonly onReady: () => void;
  readonly onLost: (why: Error) => void;
}

interface Pending {
  readonly sentAtMs: number;
  readonly resolve: (reply: MemcachedReply) => void;
  readonly reject: (error: Error) => void;
}

const CONNECT_TIMEOUT_MS = 2_000;
/** What was written and not taken by the system: a server that does not read must not fill our memory. */
const MAX_UNSENT_BYTES = 32 * 1024 * 1024;

/** One connection to one server, made again for ever. Replies come in the order of the commands. */
export class MemcachedConnection {
  readonly #options: MemcachedConnectionOptions;
  readonly #backoff = new Backoff({ firstMs: 50, maxMs: 2_000 });
  #socket: Socket | undefined;
  #isReady = false;
  #isClosed = false;
  #retry: NodeJS.Timeout | undefined;
  #isCorked = false;
  #pending: Pending[] = [];
  #answered = 0;

  constructor(options: MemcachedConnectionOptions) {
    this.#options = options;
    this.#connect();
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** Rejects with {@link MemcachedUnavailableError}; `parts` are sent one after the other, unchanged. */
  send(parts: readonly (string | Uint8Array)[]): Promise<MemcachedReply> {
    const socket = this.#socket;
    if (socket === undefined || !this.#isReady) {
      return Promise.reject(new MemcachedUnavailableError(`there is no connection to ${this.#name}`));
    }
    const waiting = this.#pending.length - this.#answered;
    if (waiting >= this.#options.maxInFlight || socket.writableLength > MAX_UNSENT_BYTES) {
      return Promise.reject(new MemcachedUnavailableError(`${this.#name} has ${waiting} commands to answer first`));
    }
    const now = performance.now();
    const oldest = this.#pending[this.#answered];
    if (oldest !== undefined && now - oldest.sentAtMs > this.#options.silenceMs) {
      const why = new MemcachedUnavailableError(`${this.#name} left a command unanswered`);
      this.#lose(why);
      return Promise.reject(why);
    }
    return this.#write(socket, parts, now);
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#lose(new MemcachedUnavailableError(`the connection to ${this.#name} is closed`));
  }

  get #name(): string {
    return `memcached at ${this.#options.host}:${this.#options.port}`;
  }

  /** Whatever is sent in one tick goes out in one write. */
  #write(socket: Socket, parts: readonly (string | Uint8Array)[], now: number): Promise<MemcachedReply> {
    if (!this.#isCorked) {
      this.#isCorked = true;
      socket.cork();
      process.nextTick(() => {
        this.#isCorked = false;
        socket.uncork();
      });
    }
    for (const part of parts) socket.write(part);
    return new Promise((resolve, reject) => void this.#pending.push({ sentAtMs: now, resolve, reject }));
  }

  #connect(): void {
    const { host, port } = this.#options;
    const socket = connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 10_000 });
    this.#socket = socket;
    const replies = new MemcachedReplies({
      maxValueBytes: this.#options.maxValueBytes,
      onReply: (reply) => this.#settle(reply),
    });
    const lost = (why: Error): void => {
      if (this.#socket === socket) this.#lose(why);
    };
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => {
      if (!this.#isReady)
        lost(new MemcachedUnavailableError(`${this.#name} did not answer within ${CONNECT_TIMEOUT_MS} ms`));
    });
    socket.on('connect', () => void this.#greet(socket));
    socket.on('data', (chunk: Buffer) => {
      if (this.#socket !== socket) return;
      try {
        replies.push(chunk);
      } catch (error) {
        lost(error as Error);
      }
    });
    socket.on('error', (error) => lost(new MemcachedUnavailableError(`${this.#name}: ${error.message}`)));
    socket.on('close', () => lost(new MemcachedUnavailableError(`${this.#name} ended the connection`)));
  }

  /** A server that wants a password takes it as the first `set`, whatever its key (doc/protocol.txt, "Authentication"). */
  async #greet(socket: Socket): Promise<void> {
    const { username, password } = this.#options;
    try {
      if (username !== undefined && password !== undefined) {
        const secret = Buffer.from(`${username} ${password}`);
        const reply = await this.#write(
          socket,
          [`set auth 0 0 ${secret.length}\r\n`, secret, '\r\n'],
          performance.now(),
        );
        if (reply.kind !== 'line' || reply.text !== 'STORED') {
          throw new MemcachedUnavailableError(`${this.#name} refused the user or the password`);
        }
      }
      // A system takes connections for a server that stands still: only an answer shows that it works.
      if (this.#socket === socket) await this.#write(socket, ['version\r\n'], performance.now());
    } catch (error) {
      if (this.#socket === socket) this.#lose(error as Error);
      return;
    }
    if (this.#socket !== socket) return;
    this.#isReady = true;
    this.#options.onReady();
  }

  #settle(reply: MemcachedReply): void {
    const first = this.#pending[this.#answered];
    if (first === undefined) throw new MemcachedProtocolError('found a reply from memcached that nobody waits for');
    // Not sooner: something may listen there that ends every connection.
    this.#backoff.reset();
    this.#answered += 1;
    if (this.#answered === this.#pending.length || this.#answered >= 1024) {
      this.#pending = this.#pending.slice(this.#answered);
      this.#answered = 0;
    }
    first.resolve(reply);
  }

  #lose(why: Error): void {
    this.#isReady = false;
    this.#socket?.destroy();
    this.#socket = undefined;
    const waiting = this.#pending.slice(this.#answered);
    this.#pending = [];
    this.#answered = 0;
    const error =
      why instanceof MemcachedUnavailableError ? why : new MemcachedUnavailableError(why.message, { cause: why });
    for (const { reject } of waiting) reject(error);
    if (this.#isClosed) return;
    this.#options.onLost(error);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), this.#backoff.nextMs());
  }
}
