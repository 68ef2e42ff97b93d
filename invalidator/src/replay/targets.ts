import { setTimeout as wait } from 'node:timers/promises';
import { formatLsn, type Lsn } from '@tidemark/proto';
import type { LogReply } from '@tidemark/proto/redis';
import { Backoff, createLogger, createRedis } from '@tidemark/runtime';
import { purgeClient } from '../adapters/purge-client.ts';
import { openFenceLogs } from '../adapters/redis-log.ts';
import type { TextWriter } from '../adapters/text-writer.ts';
import type { ReplayConfig } from '../config.ts';
import { OperatorError } from '../core/errors.ts';
import type { ReplayOutput } from '../core/replay/engine.ts';
import { NdjsonOutput } from '../core/replay/ndjson.ts';
import type { ReplayTarget } from '../core/replay/ports.ts';
import { PurgeCollector } from '../core/replay/purges.ts';
import { Raiser, type LogMark } from '../core/replay/raiser.ts';
import type { ChosenRules } from './rules.ts';

/** A line of JSON for each invalidation. */
export function linesTo(writer: TextWriter): ReplayTarget {
  return {
    output: new NdjsonOutput((line) => writer.write(line)),
    get pending() {
      return writer.pending;
    },
    marks: [],
    flush: () => writer.flush(),
    finish: async () => [],
    close: () => undefined,
  };
}

/** Nothing is done. */
export function countsOnly(output: ReplayOutput): ReplayTarget {
  const nothing = { flush: async () => undefined, finish: async () => [], close: () => undefined };
  return { output, pending: 0, marks: [], ...nothing };
}

/** Redis does nothing else meanwhile (about 1 ms). */
const MAX_FENCES_PER_CALL = 500;
/** A name in memory, roughly, bytes. */
const NAME_BYTES = 100;
/** A Redis that is away for longer ends the replay, ms. */
const AWAY_MS = 60_000;

/** The fence logs in Redis. */
export function redisTarget(options: {
  readonly config: ReplayConfig;
  readonly chosen: ChosenRules;
  readonly marks: readonly (LogMark | null)[];
  readonly signal: AbortSignal;
}): ReplayTarget {
  const { config, chosen, marks, signal } = options;
  if (config.redisUrl === undefined)
    throw new OperatorError('TIDEMARK_REDIS_URL: found nothing, expected the URL of Redis for --into redis');
  const logger = createLogger({ service: 'replay', instance: config.instance, level: config.logLevel, to: 'stderr' });
  const redis = createRedis(config.redisUrl, { deadlineMs: config.redisDeadlineMs, tls: config.redisTls, logger });
  const { buckets, maxFences } = config.sourceConfig.l2;
  const persist = async (call: () => Promise<LogReply>): Promise<LogReply> => {
    const backoff = new Backoff({ firstMs: 20, maxMs: 1_000 });
    const startedAt = performance.now();
    for (;;) {
      try {
        return await call();
      } catch (error) {
        if (performance.now() - startedAt > AWAY_MS)
          throw new OperatorError(`Redis takes no calls: ${(error as Error).message}`);
        signal.throwIfAborted();
        await backoff.pause(signal);
      }
    }
  };
  const raiser = new Raiser({
    rules: chosen.rules,
    logs: openFenceLogs(redis, { source: config.source, buckets, maxFences }),
    persist,
    maxNames: maxFences,
    maxFencesPerCall: MAX_FENCES_PER_CALL,
    marks: marks.map((mark) => mark ?? undefined),
  });
  return {
    output: raiser,
    get pending() {
      return raiser.size * NAME_BYTES;
    },
    get marks() {
      return raiser.marks.map((mark) => mark ?? null);
    },
    flush: () => raiser.flush(),
    finish: async () => [
      `${raiser.deleted.toLocaleString('en')} entries deleted in Redis`,
      ...(raiser.leftOut === 0
        ? []
        : ['some fences were left out: they are of another epoch than the log in Redis, or there is no log']),
    ],
    close: () => redis.close(),
  };
}

/**
 * Every sidecar, and Redis, through the WAL. A sidecar takes no orders but from the stream: a purge that was written there
 * comes in commit order with everything else, is durable, reaches the sidecar that sleeps as well as the one that is
 * started later, and may be written twice (SPEC I11). Nothing else would have to be built, secured, found and retried for
 * thousands of pods.
 */
export function sidecarsTarget(options: {
  readonly config: ReplayConfig;
  /** Most names a second. */
  readonly rate: number;
  readonly signal: AbortSignal;
}): ReplayTarget {
  const { config, rate, signal } = options;
  if (config.invalidatorUrl === undefined)
    throw new OperatorError(
      'TIDEMARK_INVALIDATOR_URL: found nothing, expected the URL of an invalidator for --into sidecars',
    );
  const client = purgeClient(config.invalidatorUrl, signal);
  const collector = new PurgeCollector();
  let [names, namespaces, last] = [0, 0, 0 as Lsn];
  let freeAt = performance.now();
  return {
    output: collector,
    get pending() {
      return collector.pending * NAME_BYTES;
    },
    marks: [],
    async flush() {
      for (let next = collector.next(); next !== undefined; next = collector.next()) {
        await wait(Math.max(0, freeAt - performance.now()), undefined, { signal });
        last = Math.max(last, await client.purge(next.request));
        freeAt = Math.max(freeAt, performance.now()) + (1000 * next.names) / rate;
        names += next.names;
        namespaces += next.request.purge.filter(({ all }) => all).length;
      }
    },
    finish: async () => [
      `${names.toLocaleString('en')} keys and tags and ${namespaces} whole namespaces purged` +
        (last === 0 ? '' : `: a sidecar has evicted them once it has applied ${formatLsn(last)}`),
    ],
    close: () => undefined,
  };
}
