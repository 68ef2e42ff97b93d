import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** What readers have received since they were started. */
export interface Received {
  readonly fetches: number;
  readonly records: number;
  readonly bytes: number;
  /** Readers that have a connection now. */
  readonly connected: number;
}

const PER_PROCESS = 250;

/** Record readers in a few processes, each with connections of its own as a sidecar has them. */
export class Crowd {
  readonly #processes: ChildProcess[] = [];
  readonly #brokers: string;
  readonly #topic: string;
  readonly #fetchIntervalMs: number;
  #count = 0;

  constructor(options: {
    readonly brokers: readonly string[];
    readonly topic: string;
    readonly fetchIntervalMs: number;
  }) {
    this.#fetchIntervalMs = options.fetchIntervalMs;
    this.#brokers = options.brokers.join(',');
    this.#topic = options.topic;
  }

  /** Adds readers until there are so many. */
  async growTo(count: number): Promise<void> {
    while (this.#count < count) {
      const more = Math.min(PER_PROCESS, count - this.#count);
      const child = fork(join(import.meta.dirname, 'readers.ts'), [
        this.#brokers,
        this.#topic,
        String(more),
        String(this.#fetchIntervalMs),
      ]);
      this.#processes.push(child);
      this.#count += more;
      await once(child, 'message');
    }
  }

  async received(): Promise<Received> {
    const all = await Promise.all(
      this.#processes.map(async (child) => {
        const answer = once(child, 'message');
        child.send('tell');
        return (await answer)[0] as Received;
      }),
    );
    const sum = (of: (each: Received) => number): number => all.reduce((total, each) => total + of(each), 0);
    return {
      fetches: sum((each) => each.fetches),
      records: sum((each) => each.records),
      bytes: sum((each) => each.bytes),
      connected: sum((each) => each.connected),
    };
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#processes.map((child) => {
        const gone = once(child, 'exit');
        child.kill('SIGTERM');
        return gone;
      }),
    );
  }
}
