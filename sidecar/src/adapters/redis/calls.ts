import {
  DeadlineError,
  Deadlines,
  RedisUnavailableError,
  type RedisArgument,
  type RedisClient,
  type RedisScript,
} from '@tidemark/runtime';
import type { Clock, L2Failure } from '../../core/ports.ts';

/** `chunk`: of reading, writing and removing chunks. */
export type Command = 'read' | 'read-tagged' | 'fill' | 'promote' | 'plain' | 'chunk' | 'probe' | 'claim' | 'hot';

/** What commands to Redis did, for metrics. */
export class L2Counters {
  readonly commands: Record<Command, number> = {
    ...{ read: 0, 'read-tagged': 0, fill: 0, promote: 0, plain: 0, chunk: 0, probe: 0, claim: 0, hot: 0 },
  };
  /** Keys that were asked for; those of one tick go out in one command. */
  reads = 0;
  readonly failures = { deadline: 0, unavailable: 0, error: 0, damaged: 0 };
  readonly fills = new Map<string, number>();
}

/** Commands to Redis, counted and timed, and calls of several that together take no longer than a deadline. */
export class RedisCalls {
  readonly counters = new L2Counters();
  readonly #client: RedisClient;
  readonly #deadlines: Deadlines;
  readonly #onLatency: (ms: number) => void;

  constructor(options: {
    client: RedisClient;
    deadlineMs: number;
    clock?: Clock | undefined;
    onLatency: (ms: number) => void;
  }) {
    this.#client = options.client;
    this.#deadlines = new Deadlines('Redis', options.deadlineMs, options.clock);
    this.#onLatency = options.onLatency;
  }

  get isUp(): boolean {
    return this.#client.isUp;
  }

  command(kind: Command, name: string, ...args: readonly RedisArgument[]): Promise<unknown> {
    return this.#timed(kind, this.#client.command(name, ...args));
  }

  script(
    kind: Command,
    script: RedisScript,
    call: { readonly keys: readonly string[]; readonly args: readonly (string | number | Uint8Array)[] },
  ): Promise<unknown> {
    const args = call.args.map((arg) => (arg instanceof Uint8Array ? asBuffer(arg) : arg));
    return this.#timed(kind, this.#client.script(script, call.keys, args));
  }

  /** Never rejects. What the work had begun goes on after the deadline. */
  async inTime<T>(work: () => Promise<T>): Promise<T | L2Failure> {
    try {
      return await this.#deadlines.race(work());
    } catch (error) {
      return this.#failed(error);
    }
  }

  async #timed(kind: Command, sent: Promise<unknown>): Promise<unknown> {
    this.counters.commands[kind] += 1;
    const startedAtMs = performance.now();
    const answer = await sent;
    this.#onLatency(performance.now() - startedAtMs);
    return answer;
  }

  #failed(error: unknown): L2Failure {
    const { failures } = this.counters;
    if (error instanceof DeadlineError) failures.deadline += 1;
    else if (error instanceof RedisUnavailableError) failures.unavailable += 1;
    else {
      failures.error += 1;
      return 'lost';
    }
    return 'away';
  }
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
