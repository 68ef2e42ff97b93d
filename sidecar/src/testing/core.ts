import { compileRules, parseConfig, rulesOfSource } from '@tidemark/proto';
import { createPolicy } from '../adapters/l1/policies.ts';
import { sizeOf } from '../adapters/l1/size.ts';
import { MemoryStore } from '../adapters/l1/store.ts';
import type { Budget } from '../adapters/l1/budget.ts';
import { Clearance } from '../core/clearance.ts';
import { Coalescer } from '../core/coalescer.ts';
import { Configuration } from '../core/configuration.ts';
import { Evictor } from '../core/evictor.ts';
import { Filler, type FillOutcome } from '../core/filler.ts';
import type { Outcome, Waiter } from '../core/flights.ts';
import { USUAL, type Accepts, type Lifetime } from '../core/freshness.ts';
import { Grace } from '../core/grace.ts';
import { L2Look } from '../core/l2-look.ts';
import { Leases } from '../core/leases.ts';
import { Marks } from '../core/marks.ts';
import { Loads } from '../core/loads.ts';
import { Passing } from '../core/passing.ts';
import type { Namespace } from '../core/namespace.ts';
import type { L2Store, Loader } from '../core/ports.ts';
import { Reader, type ReadMode } from '../core/reader.ts';
import { RefreshAhead } from '../core/refresh-ahead.ts';
import { SourceReplica } from '../core/replica.ts';
import { countingRandom, ManualClock } from './fakes.ts';
import { Dice } from './random.ts';
import { variantDigest } from '../http/target.ts';
import { Variants } from '../core/variants.ts';
import { Watermark } from '../core/watermark.ts';
import { TestStream } from './stream.ts';

export const MAX_STALENESS_MS = 5_000;
export const LEASE_TTL_MS = 10_000;
export const WAIT_MS = 2_000;

export interface TestCoreOptions {
  readonly l2?: L2Store;
  readonly waiters?: number;
  readonly waitersPerKey?: number;
  readonly maxItemBytes?: string;
  readonly l1Bytes?: string;
  /** What L1 and grace of all namespaces share. */
  readonly room?: Budget;
  /** Whether keys are claimed in L2 before they are loaded. */
  readonly lease?: boolean;
  /** Of `user`, besides the common ones. */
  readonly user?: Readonly<Record<string, unknown>>;
  /** By namespace. */
  readonly loaders?: Readonly<Record<string, Loader>>;
}

/** The core of a sidecar with the namespaces `user` (by key), `list` (by tag) and `plain` (ttl_only). */
export function testCore(options: TestCoreOptions = {}) {
  const { l2, waiters = 10, waitersPerKey = 5, maxItemBytes = '64KiB', l1Bytes = '1MiB', loaders = {} } = options;
  const { lease = false } = options;
  const table = 'public.users';
  const common = {
    source: 'main',
    maxItemBytes,
    l1: { maxBytes: l1Bytes },
    l2: { lease },
    ttl: { hard: '60s', negative: '5s', jitter: '0%' },
  };
  const parsed = parseConfig({
    sources: { main: { topic: 't' } },
    namespaces: {
      user: { ...common, ...options.user, invalidate: [{ table, keys: ['{id}'] }] },
      list: { ...common, invalidate: [{ table, tags: ['user:{id}'] }] },
      plain: { ...common, invalidation: 'ttl_only' },
    },
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  const { config } = parsed;
  const rules = rulesOfSource(config, 'main');
  const clock = new ManualClock();
  const random = countingRandom(new Dice(1));
  const marks = new Marks();
  const evictor = new Evictor([], marks);
  const replica = new SourceReplica({ rules: compileRules([]), evict: evictor, maxStalenessMs: MAX_STALENESS_MS });
  const leases = new Leases({ ttlMs: LEASE_TTL_MS, most: 1_000 });
  const limits = { waitMs: WAIT_MS, waiters, waitersPerKey };
  const coalescer = new Coalescer({ namespaces: [], replica, leases, clock, random, limits });
  const configuration = new Configuration({
    ...{ source: 'main', served: undefined, replica, evictor, coalescer },
    createL1: ({ l1 }) =>
      new MemoryStore({ ...l1, budget: options.room, policy: createPolicy(l1.policy, () => random.fraction()) }),
    createGrace: (of) => Grace.of(of, { clock, sizeOf, room: options.room }),
    createVariants: ({ vary }) => vary && new Variants({ config: vary, digest: variantDigest }),
    createLoader: (name) => loaders[name],
  });
  configuration.take(config);
  const { namespaces } = configuration;
  const of = (name: string): Namespace => namespaces.get(name) as Namespace;
  const look = new L2Look({ replica, coalescer, l2, clock });
  const clearance = new Clearance({ replica, coalescer, look, l2, clock, random, waitMs: WAIT_MS });
  const reader = new Reader({ coalescer, look, clock, random });
  const filler = new Filler({ replica, leases, coalescer, l2, clock, random });
  const loads = new Loads({ coalescer, filler, replica, clock, etagOf: () => '"e"' });
  const ahead = new RefreshAhead({ coalescer });
  evictor.tell(ahead);
  const watermark = new Watermark({ replica, clock, most: 10 });
  const stream = new TestStream({
    replica,
    rules,
    afterRecord: () => {
      replica.heard(clock.monotonicMs());
      coalescer.settleDoomed();
      watermark.advanced();
    },
  });

  /** A read by name, remembering how it ended. */
  const get = (name: string, key: string, mode: ReadMode = 'usual', accepts: Partial<Accepts> = {}): Read => {
    const read: Read = { outcome: undefined, settled: 0, waiter: undefined };
    read.waiter = reader.read({
      namespace: of(name),
      key,
      mode,
      accepts: { ...USUAL, ...accepts },
      settle: (outcome) => {
        read.outcome = outcome;
        read.settled += 1;
      },
    });
    return read;
  };
  const put = (
    name: string,
    key: string,
    token: string | undefined,
    more: Lifetime & { body?: string; tags?: readonly string[]; sourceLsn?: number; loadedAt?: number } = {},
  ): FillOutcome =>
    filler.fill({
      namespace: of(name),
      key,
      token,
      ...more,
      sourceLsn: more.sourceLsn,
      loadedAt: more.loadedAt,
      tags: more.tags ?? [],
      absent: false,
      contentType: 'text/plain',
      etag: '"e"',
      body: Buffer.from(more.body ?? 'value'),
    });
  return {
    config,
    rules,
    configuration,
    clock,
    namespaces,
    of,
    replica,
    evictor,
    marks,
    leases,
    coalescer,
    clearance,
    ahead,
    look,
    random,
    reader,
    filler,
    loads,
    passing: new Passing(loads),
    watermark,
    stream,
    get,
    put,
  };
}

export interface Read {
  outcome: Outcome | undefined;
  settled: number;
  waiter: Waiter | undefined;
}

export type TestCore = ReturnType<typeof testCore>;

/** The token of the lease that a read was handed. */
export function tokenOf(read: Read): string {
  const { outcome } = read;
  if (outcome?.kind !== 'miss' || outcome.lease === undefined)
    throw new Error(`expected a miss with a lease, found ${JSON.stringify(outcome)}`);
  return outcome.lease.token;
}
