import { DeadlineError, Deadlines, MemcachedUnavailableError } from '@tidemark/runtime';
import type { Clock, L2Failure } from '../../core/ports.ts';

/** `chunk`: of reading, writing and removing chunks. */
export type Command = 'read' | 'fill' | 'plain' | 'chunk' | 'probe' | 'claim';

/** What commands to memcached did, for metrics. */
export class MemcachedCounters {
  readonly commands: Record<Command, number> = { read: 0, fill: 0, plain: 0, chunk: 0, probe: 0, claim: 0 };
  /** Keys that were asked for. */
  reads = 0;
  readonly failures = { deadline: 0, unavailable: 0, error: 0, damaged: 0 };
  readonly fills = new Map<string, number>();
}

/** Commands to memcached, counted and timed, and calls of several that together take no longer than a deadline. */
export class MemcachedCalls {
  readonly counters = new MemcachedCounters();
  readonly #deadlines: Deadlines;
  readonly #onLatency: (ms: number) => void;

  constructor(options: { deadlineMs: number; clock?: Clock | undefined; onLatency: (ms: number) => void }) {
    this.#deadlines = new Deadlines('memcached', options.deadlineMs, options.clock);
    this.#onLatency = options.onLatency;
  }

  async timed<T>(kind: Command, sent: Promise<T>): Promise<T> {
    this.counters.commands[kind] += 1;
    const startedAtMs = performance.now();
    const answer = await sent;
    this.#onLatency(performance.now() - startedAtMs);
    return answer;
  }

  /** Never rejects. What the work had begun goes on after the deadline. */
  async inTime<T>(work: () => Promise<T>): Promise<T | L2Failure> {
    try {
      return await this.#deadlines.race(work());
    } catch (error) {
      return this.#failed(error);
    }
  }

  #failed(error: unknown): L2Failure {
    const { failures } = this.counters;
    if (error instanceof DeadlineError) failures.deadline += 1;
    else if (error instanceof MemcachedUnavailableError) failures.unavailable += 1;
    else {
      failures.error += 1;
      return 'lost';
    }
    return 'away';
  }
}
