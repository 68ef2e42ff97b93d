import { compileRules, FLUSHED_MARK_WORD, type ConfigIntake, type SourceOf } from '@tidemark/proto';
import type { createKafka, Logger, PackingSettings } from '@tidemark/runtime';
import type { RequestListener } from 'node:http';
import { HttpInvalidatorClient } from './adapters/invalidator-client.ts';
import { Budget } from './adapters/l1/budget.ts';
import { createPolicy } from './adapters/l1/policies.ts';
import { sizeOf } from './adapters/l1/size.ts';
import { MemoryStore } from './adapters/l1/store.ts';
import { systemClock as clock, systemRandom } from './adapters/system.ts';
import { createBehind, UNCONFIGURED_WRITER } from './compose-behind.ts';
import { createThrough } from './compose-through.ts';
import { createKeeper, createL2, packingOf, tickL2, UNLOGGED_FENCE_SLOTS, type L2Backend } from './compose-l2.ts';
import { createLoading } from './compose-load.ts';
import { createWarming } from './compose-warm.ts';
import type { Config } from './config.ts';
import { BatchReader } from './core/batch-reader.ts';
import { Clearance } from './core/clearance.ts';
import { Coalescer } from './core/coalescer.ts';
import { Configuration, type Taken } from './core/configuration.ts';
import { Evictor } from './core/evictor.ts';
import { Filler } from './core/filler.ts';
import { Follower, type FollowerEvents } from './core/follower.ts';
import { L2Lag } from './core/l2-lag.ts';
import { L2Look } from './core/l2-look.ts';
import { Grace } from './core/grace.ts';
import { Leases } from './core/leases.ts';
import { Loads } from './core/loads.ts';
import { Passing } from './core/passing.ts';
import { Marks } from './core/marks.ts';
import { unconfigured, type Namespace, type Namespaces } from './core/namespace.ts';
import type { PositionClient, PurgeClient } from './core/ports.ts';
import { Positions } from './core/positions.ts';
import { Purger } from './core/purger.ts';
import { Reader } from './core/reader.ts';
import { RefreshAhead } from './core/refresh-ahead.ts';
import { SourceReplica } from './core/replica.ts';
import { ANY_SOURCE } from './core/session-token.ts';
import { Sessions } from './core/sessions.ts';
import { statusOf, type ConfigStatus, type L2State, type Status } from './core/status.ts';
import { Variants } from './core/variants.ts';
import { Watermark } from './core/watermark.ts';
import type { Writer } from './core/writer.ts';
import { createApp, type AppOptions } from './http/app.ts';
import { batchRoute } from './http/batch-route.ts';
import { cacheRoutes } from './http/cache-routes.ts';
import { etagOf } from './http/etag.ts';
import { hitPath } from './http/hit-path.ts';
import { openapi } from './http/openapi.ts';
import { variantDigest } from './http/target.ts';
import { purgeRoute } from './http/purge-route.ts';
import { warmRoute } from './http/warm-route.ts';
import { writeRoute } from './http/write-route.ts';
import type { Metrics } from './metrics.ts';

const VERSION = '0.1.0';
const LIMITS = {
  leases: 65_536,
  flightsSweptAtOnce: 10_000,
  waiters: 10_000,
  waitersPerKey: 1_000,
  watermarkWaits: 1_000,
  positionQuestions: 10_000,
} as const;
/** A purge is written within this time, or a position told; a purge is applied here within the other. */
const INVALIDATOR_TIMEOUT_MS = 5_000;
const PURGE_WAIT_MS = 5_000;
const L2_LAG_SAMPLES = 600;

/** Everything that decides, over the adapters that it needs. */
export type Core = ReturnType<typeof createCore>;

/** What every core of the process is made of. */
export interface Surroundings {
  readonly kafka: ReturnType<typeof createKafka>;
  readonly config: Config;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** The core of a source, with no namespace yet. */
export function createCore(of: Pick<SourceOf, 'source' | 'sourceConfig'>, surroundings: Surroundings) {
  const { config, metrics, logger } = surroundings;
  const { source, sourceConfig } = of;
  const packing = (name: string): PackingSettings => packingOf(configuration.namespaces.get(name));
  const l2 = createL2({ source, buckets: sourceConfig.l2.buckets, packing }, surroundings);
  const { invalidatorUrl } = config;
  const client =
    invalidatorUrl === undefined
      ? undefined
      : new HttpInvalidatorClient({ invalidatorUrl, source, timeoutMs: INVALIDATOR_TIMEOUT_MS });
  const parts = createParts({ source, config, l2, client });
  const { replica, evictor, coalescer, watermark, marks } = parts;
  const { writesTopic: topic, maxStalenessMs } = config;
  const behind = createBehind({ topic, kafka: surroundings.kafka, replica, client, clock, maxStalenessMs, logger });
  marks.on(FLUSHED_MARK_WORD, (rest, lsn) => behind.writes.mark(rest, lsn));
  const events = followerEvents(replica, { metrics, logger, onBreak: behind.broke });
  const through = createThrough({
    ...parts,
    namespaces: { get: (name) => configuration.namespaces.get(name) },
    config,
    clock,
    random: systemRandom(),
    etagOf,
    onWrite: metrics.observeWrite,
    logger,
  });
  const onSettled = (): void => through.applied();
  const follower = new Follower({ replica, coalescer, watermark, clock, events, onSettled });
  const loading = createLoading({ config, followed: () => replica.server, clock, onLoad: metrics.observeLoad, logger });
  const budget = new Budget({ maxBytes: config.l1MaxBytes, maxEntries: config.l1MaxEntries });
  const random = systemRandom();
  const configuration = new Configuration({
    source,
    served: config.namespaces,
    replica,
    evictor,
    coalescer,
    createL1: ({ l1 }) => new MemoryStore({ ...l1, budget, policy: createPolicy(l1.policy, () => random.fraction()) }),
    createGrace: (settings) => Grace.of(settings, { clock, sizeOf, room: budget }),
    createPending: (name, settings) => behind.createPending(name, settings),
    createLoader: (name, settings) => loading.createLoader(name, settings),
    createVariants: ({ vary }) => vary && new Variants({ config: vary, digest: variantDigest }),
  });
  const lag = new L2Lag(L2_LAG_SAMPLES);
  const { namespaces } = configuration;
  const writerOf = (namespace: Namespace): Writer | undefined =>
    behind.writerOf(namespace) ?? through.writerOf(namespace);
  const warming = createWarming({ ...parts, namespaces, l2, config, budget, clock, random });
  return {
    ...parts,
    ...warming,
    ...of,
    l2,
    budget,
    behind,
    through,
    loading,
    writerOf,
    follower,
    configuration,
    namespaces,
    lag,
  };
}

/**
 * What answers until a document has come: its stream never begins, so every read is a miss without a lease, and there is no lease
 * that could be filled.
 */
export function createUnconfigured(config: Config) {
  const client: PurgeClient & PositionClient = {
    purge: () => Promise.resolve({ failed: 'this sidecar has no configuration yet' }),
    position: () => Promise.resolve({ failed: 'this sidecar has no configuration yet' }),
  };
  const namespaces: Namespaces = { get: unconfigured };
  const writerOf = () => UNCONFIGURED_WRITER;
  const warmer = undefined;
  return { ...createParts({ source: ANY_SOURCE, config, l2: undefined, client }), namespaces, writerOf, warmer };
}

function createParts(options: {
  source: string;
  config: Config;
  l2: L2Backend | undefined;
  client: (PurgeClient & PositionClient) | undefined;
}) {
  const { source, config, client } = options;
  const l2 = options.l2?.store;
  const { maxStalenessMs, leaseTtlMs, coalesceTimeoutMs: waitMs, sessionTimeoutMs: timeoutMs } = config;
  const random = systemRandom();
  const marks = new Marks();
  const evictor = new Evictor([], marks);
  const fences = options.l2?.kind === 'memcached' ? { fenceSlots: UNLOGGED_FENCE_SLOTS } : {};
  const replica = new SourceReplica({ rules: compileRules([]), evict: evictor, maxStalenessMs, ...fences });
  const leases = new Leases({ ttlMs: leaseTtlMs, most: LIMITS.leases });
  const limits = { waitMs, waiters: LIMITS.waiters, waitersPerKey: LIMITS.waitersPerKey };
  const coalescer = new Coalescer({ namespaces: [], replica, leases, clock, random, limits });
  const watermark = new Watermark({ replica, clock, most: LIMITS.watermarkWaits });
  const keeper = createKeeper(options.l2, { coalescer, replica, clock });
  const look = new L2Look({ replica, coalescer, l2, clock, promoter: keeper.promoter });
  const clearance = new Clearance({ replica, coalescer, look, l2, clock, random, waitMs });
  const reader = new Reader({ coalescer, look, clock, random });
  const filler = new Filler({ replica, leases, coalescer, l2, clock, random });
  const loads = new Loads({ coalescer, filler, replica, clock, etagOf });
  const passing = new Passing(loads);
  const ahead = new RefreshAhead({ coalescer });
  evictor.tell(ahead);
  const purger = new Purger({ client, watermark, waitMs: PURGE_WAIT_MS });
  const positions = new Positions({ client, most: LIMITS.positionQuestions });
  const sessions = new Sessions({ source, replica, watermark, positions, clock, timeoutMs });
  const batches = new BatchReader({ reader, passing, replica, watermark, positions, clock, timeoutMs });
  return {
    evictor,
    marks,
    replica,
    leases,
    coalescer,
    watermark,
    ...keeper,
    clearance,
    ahead,
    look,
    reader,
    filler,
    loads,
    passing,
    purger,
    positions,
    sessions,
    batches,
  };
}

function followerEvents(
  replica: SourceReplica,
  { metrics, logger, onBreak }: { metrics: Metrics; logger: Logger; onBreak: () => void },
): FollowerEvents {
  let wasReady = false;
  return {
    state(state, before) {
      const level = state === 'stalled' ? 'warn' : 'info';
      logger[level]({ state, before, applied: replica.applied }, 'the state of the feed changed');
      if (state !== 'live' || wasReady) return;
      wasReady = true;
      logger.info('ready');
    },
    irregular(kind, details) {
      if (kind !== 'stale-epoch') onBreak();
      if (kind === 'stale-epoch') logger.debug({ kind, ...details }, 'a record of an older epoch was ignored');
      else if (kind === 'started') logger.info({ kind, ...details }, 'the stream begins here');
      else logger.warn({ kind, ...details }, 'the stream does not continue what was applied: L1 was flushed');
    },
    applied: (lagMs) => metrics.observeEvictLag(lagMs),
  };
}

/** What is done once a second: notice a stall, how far L2 is, what falls behind there, and what is too old for anybody. */
export function tick(core: Core): void {
  core.follower.checkState();
  const nowMs = clock.monotonicMs();
  for (const { grace, flights } of core.namespaces.values()) {
    grace?.sweep();
    flights.sweep((lease) => core.leases.isOut(lease, nowMs), LIMITS.flightsSweptAtOnce);
  }
  tickL2({ ...core, clock });
  core.warmTriggers.check();
}

/** Body of `GET /v1/status`. */
export function status(core: Core | undefined, configStatus: ConfigStatus): Status {
  const l2 = (): L2State => {
    if (core?.l2 === undefined) return { state: 'off', lagMs: null };
    return core.l2.store.available ? { state: 'up', lagMs: core.lag.lagMs } : { state: 'down', lagMs: null };
  };
  return statusOf({ version: VERSION, config: configStatus, core, l2, clock });
}

/** What `/v1/status` says of the configuration. */
export function configStatusOf(config: Config, intake: ConfigIntake<Taken>): ConfigStatus {
  const { stamp, complaint = null } = intake;
  const state = stamp === undefined ? 'waiting' : 'taken';
  if (config.origin.kind === 'file') return { from: 'file', state, term: null, revision: null, complaint };
  return { from: 'topic', state, term: stamp?.term ?? null, revision: stamp?.revision ?? null, complaint };
}

/** The pages that do not depend on a core. */
export type Pages = Pick<AppOptions, 'health' | 'status' | 'logger'>;

/** The address for probes and people. */
export function adminListener(pages: Pages): RequestListener {
  return createApp({ ...pages, openapi });
}

/** The address for applications. */
export function applicationListener(core: Core | ReturnType<typeof createUnconfigured>, pages: Pages): RequestListener {
  const { namespaces, replica, coalescer } = core;
  const cache = cacheRoutes({ ...core, clock });
  const purge = purgeRoute(core);
  const batch = batchRoute({ ...core, clock });
  const write = writeRoute(core);
  const warm = warmRoute(core);
  const fallback = createApp({ ...pages, openapi, cache, purge, batch, write, warm });
  return hitPath({ namespaces, replica, coalescer, clock, fallback });
}
