import { setTimeout as sleep } from 'node:timers/promises';
import { rulesInputs, type RulesInput } from '@tidemark/proto';
import { openConfigLog, type ConfigLog } from '../adapters/config-topic.ts';
import type { CacheNamespace } from '../adapters/kube-cache-namespaces.ts';
import { RETIRED_FOR_MS } from '../core/retired-rules.ts';
import type { ConfigDocument } from './config-document.ts';
import { ConfigKeeper, type ConfigView } from './config-keeper.ts';
import { ConfigPublisher } from './config-publisher.ts';
import type { RunContext } from './context.ts';
import { LiveRules } from './live-rules.ts';
import { StatusWriter } from './status-writer.ts';
import { supervise } from './supervisor.ts';

/**
 * Longest wait at the start for what the topic and the API server hold, ms. Without it a leader would begin with the file alone
 * and take the resources' namespaces up a moment later.
 */
const KNOWN_MS = 5000;
/** Longest wait for what is on its way at the end, beyond the stream's own, ms. */
const CLOSE_MS = 1000;

/**
 * Leads: decides what the configuration is, and follows Postgres by it, until it is stopped. Rejects like {@link supervise}.
 * @param options.onConfig told how to look at the configuration
 */
export async function followConfigured(options: {
  readonly context: RunContext;
  readonly file: ConfigDocument;
  readonly stop: AbortSignal;
  readonly onReady: () => void;
  readonly onConfig: (view: () => ConfigView) => void;
}): Promise<void> {
  const { context, file, onReady, onConfig } = options;
  const { config, kafka, logger, leadership, metrics } = context;
  // Whatever ends, everything ends.
  const ended = new AbortController();
  const stop = AbortSignal.any([options.stop, ended.signal]);
  const { source } = config;
  const known = knowledge();
  let keeper: ConfigKeeper | undefined;
  let log: ConfigLog | undefined;
  let newest: readonly CacheNamespace[] | undefined;
  const resources = config.cacheNamespaces
    ? await openResources({
        context,
        stop,
        onChange: (found) => {
          newest = found;
          known.resources();
          keeper?.takeResources(found);
        },
      })
    : undefined;
  if (resources === undefined) known.resources();
  if (config.configTopic === undefined) known.topic();
  else {
    const topic = config.configTopic;
    log = openConfigLog({
      ...{ kafka, topic, logger },
      onChange: () => {
        if (log?.isCaughtUp === true) known.topic();
        keeper?.poke();
      },
    });
    const opened = log;
    opened.ensure().catch((error: Error) => logger.error({ err: error }, `the configuration topic: ${error.message}`));
  }
  const work: Promise<unknown>[] = [];
  let streaming: Promise<void> | undefined;
  try {
    if (log !== undefined || resources !== undefined)
      await Promise.race([known.all, sleep(KNOWN_MS, undefined, { signal: stop }).catch(() => undefined)]);
    const before = log?.held === undefined ? [] : rulesInputs(log.held.config, source);
    const own = rulesInputs(file.current.config, source);
    const rules = new LiveRules({
      // Until the API server has answered, what its resources said is what the newest document says.
      rules: resources === undefined || newest !== undefined ? own : together(own, before),
      before,
      // Without the topic nobody knows when others take a new file.
      retiredForMs: log === undefined ? Number.POSITIVE_INFINITY : RETIRED_FOR_MS,
      nowMs: () => performance.now(),
    });
    keeper = new ConfigKeeper({
      ...{ source, file, rules, logger, metrics: metrics.config },
      publisher: log && new ConfigPublisher({ log, leadership, logger, metrics: metrics.config }),
      statuses:
        resources &&
        new StatusWriter({
          ...{ source, logger, metrics: metrics.config },
          write: resources.write,
          isSure: () => leadership.isSure(),
        }),
    });
    const kept = keeper;
    onConfig(() => kept.view);
    if (newest !== undefined) {
      kept.takeResources(newest);
      // The first session begins with what is known.
      kept.work();
    }
    const keeping = kept.run(stop);
    streaming = supervise({ context, rules, stop, onReady });
    work.push(keeping);
    await Promise.race([streaming, keeping.then(() => streaming)]);
  } finally {
    ended.abort();
    await Promise.allSettled([streaming]);
    // A document that is on its way to a Kafka that does not answer keeps no other leader waiting: it would bury it.
    await Promise.race([Promise.allSettled([...work, log?.close(), resources?.done]), sleep(CLOSE_MS)]);
  }
}

/** Settles once everything that is waited for is known. */
function knowledge(): { readonly resources: () => void; readonly topic: () => void; readonly all: Promise<unknown> } {
  const resources = Promise.withResolvers<void>();
  const topic = Promise.withResolvers<void>();
  return {
    resources: resources.resolve,
    topic: topic.resolve,
    all: Promise.all([resources.promise, topic.promise]),
  };
}

/** Those of the file, and of the others whose name it does not have. */
function together(own: readonly RulesInput[], others: readonly RulesInput[]): readonly RulesInput[] {
  const names = new Set(own.map(({ name }) => name));
  return [...own, ...others.filter(({ name }) => !names.has(name))].toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

async function openResources(options: {
  readonly context: RunContext;
  readonly stop: AbortSignal;
  readonly onChange: (resources: readonly CacheNamespace[]) => void;
}) {
  const { context, stop, onChange } = options;
  const { config, logger, metrics } = context;
  // Kubernetes' library is heavy; only those load it who need it.
  const { openKubeClient } = await import('../adapters/kube-client.ts');
  const { followCacheNamespaces, writeStatus } = await import('../adapters/kube-cache-namespaces.ts');
  const client = await openKubeClient(config.kubeconfig);
  const api = client.api(client.library.CustomObjectsApi);
  let isTold = false;
  const done = followCacheNamespaces({
    api,
    watch: new client.library.Watch(client.config),
    onChange,
    onFailure: (error) => {
      metrics.config.resourcesFollowed(error === undefined);
      if (error === undefined && isTold) logger.info('CacheNamespaces are followed again');
      if (error !== undefined && !isTold) logger.warn({ err: error }, `${error.message}: what they said last holds`);
      isTold = error !== undefined;
    },
    stop,
  });
  return {
    done,
    write: (resource: CacheNamespace, status: Parameters<typeof writeStatus>[2]) => writeStatus(api, resource, status),
  };
}
