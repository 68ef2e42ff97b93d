import { Budget } from '../adapters/l1/budget.ts';
import type { Loaded, Loader } from '../core/ports.ts';
import type { WarmOrder } from '../core/warm-job.ts';
import type { HotList, KeySource } from '../core/warm-ports.ts';
import type { Held } from '../core/warm-room.ts';
import { Warmer } from '../core/warmer.ts';
import { testCore, type TestCoreOptions } from './core.ts';

/** What a loader found. */
export const value = (text: string, bytes = 0): Loaded => ({
  kind: 'value',
  body: Buffer.from(text.padEnd(bytes)),
  contentType: 'text/plain',
  tags: [],
});
export const FAILED: Loaded = { kind: 'failed', why: 'unavailable', detail: 'Postgres is away' };

/** Loads what the test says. */
export class FakeLoader implements Loader {
  readonly loaded: string[] = [];
  readonly waiting: (() => void)[] = [];
  /** Whether loads end only when the test says so. */
  holds = false;
  answer: (key: string) => Loaded = value;
  readonly handles = (): boolean => true;

  load({ key }: { key: string }): Promise<Loaded> {
    this.loaded.push(key);
    const loaded = this.answer(key);
    if (!this.holds) return Promise.resolve(loaded);
    return new Promise((resolve) => this.waiting.push(() => resolve(loaded)));
  }
}

/** A core and a warmer over it. */
export function startWarming(
  options: TestCoreOptions & {
    hotList?: HotList;
    keySource?: KeySource;
    loader?: FakeLoader | undefined;
    total?: Held;
    loadPool?: number;
  } = {},
) {
  const { hotList, keySource, total = new Budget(), loadPool = 100 } = options;
  const loader = 'loader' in options ? options.loader : new FakeLoader();
  const core = testCore({
    waiters: 1000,
    ...options,
    loaders: loader === undefined ? {} : { user: loader, list: loader },
  });
  const warmer = new Warmer({ ...core, hotList, keySource, total, loadPool });
  core.stream.say();
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 12; i += 1) await Promise.resolve();
  };
  /** Time passes, and the stream goes on. */
  const pass = async (ms: number, speaks = true): Promise<void> => {
    for (let at = 0; at < ms; at += 5) {
      core.clock.advance(5);
      if (speaks && at % 500 === 0) core.stream.say();
      await settle();
    }
  };
  const order = (more: Partial<WarmOrder> = {}): string =>
    warmer.order({ namespace: 'user', by: 'request', what: 'keys', most: 100_000, ...more }) ?? 'none';
  const job = (id: string) => warmer.jobs().find((each) => each.id === id);
  return { ...core, loader: loader ?? new FakeLoader(), warmer, pass, settle, order, job };
}

export const keysTo = (count: number): string[] => Array.from({ length: count }, (_, i) => `k${i}`);
