import { createConnection } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { ProcessHandle, Stack } from '../../test/kit/index.ts';
import { type Parts, titleOf } from './parts.ts';
import { type Random, shuffled } from '../../test/history/random.ts';
import { milliseconds } from './view.ts';

/** The failures, by the key that causes them. */
export const failures = ['r', 'k', 'i', 'p', 'f'] as const;
export type Failure = (typeof failures)[number];

/** How long each lasts. Kafka and the invalidator stay away for longer than a sidecar trusts what it holds (5 s). */
const lastsMs: Readonly<Record<Failure, number>> = { r: 5_000, k: 8_000, i: 8_000, p: 10_000, f: 0 };
const restMs = 5_000;
const stepMs = 50;

interface ChaosOptions {
  readonly stack: Stack;
  readonly parts: Parts;
  readonly say: (text: string) => void;
  /** How many reads Redis has served. */
  readonly l2Hits: () => number;
  /** Ends what lasts. */
  readonly signal: AbortSignal;
  /** How long failures last, as a factor. */
  readonly scale: number;
}

/** Causes failures, each at most once at a time, and says what it does. */
export class Chaos {
  readonly #options: ChaosOptions;
  readonly #under = new Set<string>();
  readonly #ended: Promise<void>;

  constructor(options: ChaosOptions) {
    this.#options = options;
    this.#ended = new Promise((resolve) => {
      options.signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** Whether something is broken on purpose now. */
  get active(): boolean {
    return this.#under.size > 0;
  }

  /** Settles when what was broken is whole again. Never rejects. */
  async cause(failure: Failure): Promise<void> {
    const { stack } = this.#options;
    const { kafka, redis } = stack.servers;
    switch (failure) {
      case 'r':
        return this.#on(redis, () => this.#kill(redis, lastsMs.r));
      case 'k':
        return this.#on(kafka, () => this.#kill(kafka, lastsMs.k));
      case 'i':
        return this.#on(stack.invalidator, () => this.#kill(stack.invalidator, lastsMs.i));
      case 'p': {
        const sidecar = stack.sidecars.at(-1);
        return sidecar && this.#on(sidecar, () => this.#pause(sidecar));
      }
      case 'f':
        return this.#on(redis, () => this.#flush(redis.url));
    }
  }

  /** All failures in turn, in an order by chance, over and over. */
  async causeAll(random: Random): Promise<void> {
    const { signal, scale } = this.#options;
    while (!signal.aborted) {
      for (const failure of shuffled(random, failures)) {
        await sleep(restMs * scale, signal);
        if (signal.aborted) return;
        await this.cause(failure);
      }
    }
  }

  async #on(part: ProcessHandle, work: () => Promise<void>): Promise<void> {
    const { say } = this.#options;
    if (!part.owned) return say(`${titleOf(part.name)} is a server of yours: the demo leaves it alone`);
    if (part.pid === undefined || this.#under.has(part.name)) return say(`${titleOf(part.name)} is in trouble already`);
    this.#under.add(part.name);
    try {
      await work();
    } catch (error) {
      if (!this.#options.signal.aborted) say(`${titleOf(part.name)}: ${(error as Error).message.split('\n')[0] ?? ''}`);
    } finally {
      this.#under.delete(part.name);
    }
  }

  async #kill(part: ProcessHandle, downMs: number): Promise<void> {
    const { say, signal, scale } = this.#options;
    part.hold();
    await part.kill();
    say(`${titleOf(part.name)} killed (kill -9); it comes back in ${milliseconds(downMs * scale)}`);
    await sleep(downMs * scale, signal);
    // It may not become ready before another part is back; the end of the demo does not wait for that.
    if (!signal.aborted) await Promise.race([part.release(), this.#ended]);
  }

  async #pause(part: ProcessHandle): Promise<void> {
    const { parts, say, signal, scale } = this.#options;
    parts.pause(part);
    say(`${titleOf(part.name)} paused (SIGSTOP) for ${milliseconds(lastsMs.p * scale)}; its app reads Postgres`);
    await sleep(lastsMs.p * scale, signal);
    parts.resume(part);
  }

  async #flush(url: string): Promise<void> {
    const { say, l2Hits, signal } = this.#options;
    await flushAll(url);
    const flushedAtMs = performance.now();
    say('Redis flushed (FLUSHALL): entries and fence log are gone');
    await sleep(stepMs, signal); // answers from before may still be on their way
    const before = l2Hits();
    while (l2Hits() === before && !signal.aborted) await sleep(stepMs, signal);
    say(`Redis serves again ${milliseconds(performance.now() - flushedAtMs)} after it was flushed`);
  }
}

/** Waits, or not, where it was told to end. */
async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await wait(ms, undefined, { signal }).catch(() => undefined);
}

/** To a Redis of the kit: without a password. */
function flushAll(url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: hostname, port: Number(port), timeout: 2_000 }, () =>
      socket.write('FLUSHALL\r\n'),
    );
    socket.once('data', () => {
      socket.destroy();
      resolve();
    });
    socket.once('timeout', () => socket.destroy(new Error('no answer')));
    socket.once('error', reject);
  });
}
