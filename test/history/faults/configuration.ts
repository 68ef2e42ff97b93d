import type { Cluster } from '../cluster.ts';
import type { FaultKind } from './fault.ts';

// The document changes while everything runs, and in the end it is as it was. Some are waited for until they have arrived; of the
// others, whatever else fails meanwhile may hide them from some, for a while or for good. Each document promises what the checker
// asks for.

/** Long enough for a change to arrive where nothing else fails, also in a hurry. */
const lastsMs = [4_000, 7_000] as const;
const breaks = (namespace: string): readonly string[] => [`config-${namespace}`];

async function restore({ configuration }: Cluster, namespace: string): Promise<void> {
  await configuration.restore(namespace);
  await configuration.served();
}

/**
 * A rule names a tag that applications have only just begun to say: what they stored before, or load for a miss of before, lacks
 * it, so that nothing would ever evict it. Whoever keeps any of that over the change serves it for ever.
 */
const tagRule: FaultKind = {
  name: 'config-tag-rule',
  says: 'applications begin to say a tag with each {target}, and its rule names that instead of the key',
  targets: ['item'],
  breaks,
  lastsMs,
  start: async (cluster, target) => {
    const { configuration } = cluster;
    configuration.tagsItems = true;
    await configuration.change(target, { invalidate: [{ table: 'public.items', tags: ['item:{id}'] }] });
    return async () => {
      await restore(cluster, target);
      configuration.tagsItems = false;
    };
  },
};

const otherRules: Readonly<Record<string, readonly object[]>> = {
  shelf: [{ table: 'public.items', keys: ['{shelf}'] }],
  doc: [
    { table: 'public.doc_rules', keys: ['{id}'] },
    { table: 'public.docs', keys: ['{id}'] },
  ],
};

const otherSettings: Readonly<Record<string, object>> = {
  item: { ttl: { hard: '2s' }, l1: { maxBytes: '96KiB' } },
  // While it is not in Redis nobody deletes anything there.
  shelf: { l2: { enabled: false } },
  doc: { l2: { enabled: false }, maxItemBytes: '64KiB' },
};

const change = (name: string, says: string, settings: Readonly<Record<string, object>>): FaultKind => ({
  name,
  says,
  targets: Object.keys(settings),
  breaks,
  lastsMs,
  start: async (cluster, target) => {
    await cluster.configuration.change(target, settings[target] ?? {});
    return async () => {
      await cluster.configuration.served();
      await restore(cluster, target);
    };
  },
});

/** Purges and changes of which nobody heard while it was away count all the same when it is back. */
const removed: FaultKind = {
  name: 'config-removed',
  says: 'the namespace {target} is removed, and comes back',
  targets: ['shelf', 'doc'],
  breaks,
  lastsMs,
  start: async (cluster, target) => {
    await cluster.configuration.remove(target);
    return () => restore(cluster, target);
  },
};

/** Everybody goes on with what he has; the leader makes it again if nobody else does, and publishes anew. */
const topic: FaultKind = {
  name: 'config-topic',
  says: 'the configuration topic is deleted, and made anew by {target}',
  targets: ['somebody', 'the leader'],
  breaks: () => ['config-topic'],
  needs: () => ['kafka'],
  lastsMs: [0, 2_000],
  start: async ({ configuration }, target) => {
    await configuration.deleteTopic();
    return async () => {
      if (target === 'somebody') await configuration.makeTopic();
      await configuration.served();
    };
  },
};

export const configurationFaults: readonly FaultKind[] = [
  tagRule,
  change(
    'config-rules',
    'the rules of {target} change',
    Object.fromEntries(Object.entries(otherRules).map(([name, invalidate]) => [name, { invalidate }])),
  ),
  change('config-settings', 'the settings of {target} change', otherSettings),
  removed,
  topic,
];
