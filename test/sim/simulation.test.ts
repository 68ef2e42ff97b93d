import { parseConfig, rulesOfSource } from '@tidemark/proto';
import { expect, it } from 'vitest';
import { Database } from './database.ts';
import { L2Model } from './l2-model.ts';
import { Dice } from '../../sidecar/src/testing/random.ts';
import { SimSidecar, type KeySpec, type Sabotage, type Served } from './sidecar.ts';

// SPEC I2, the one promise: what was applied is in everything that is served afterwards. Two sidecars made of the real
// core, a database whose commits become visible late and in any order, a topic that loses records, and a Redis that is
// flushed, trimmed and restored, all moved by seeded dice. A history that fails names its seed.

const parsed = parseConfig({
  sources: { main: { topic: 't' } },
  namespaces: {
    byid: { source: 'main', invalidate: [{ table: 'public.rows', keys: ['{id}'] }] },
    lists: { source: 'main', invalidate: [{ table: 'public.rows', tags: ['row:{id}'] }] },
  },
});
if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
const { config } = parsed;
const rules = rulesOfSource(config, 'main');
const rows = ['a', 'b'];
const keys: readonly KeySpec[] = [
  { namespace: 'byid', key: 'a', rows: ['a'], tags: [] },
  { namespace: 'byid', key: 'b', rows: ['b'], tags: [] },
  { namespace: 'lists', key: 'both', rows, tags: ['row:a', 'row:b'] },
];
const STEPS = 500;

function history(seed: number, sabotage: Sabotage): { stale: string | undefined; served: Served } {
  const dice = new Dice(seed);
  const database = new Database({ dice, rows, covers: rules.namespaces.map(({ hash }) => hash) });
  const l2 = new L2Model(rules);
  const served: Served = { l1: 0, l2: 0, coalesced: 0 };
  const newSidecar = (): SimSidecar => new SimSidecar({ dice, database, l2, rules, config, keys, sabotage, served });
  const sidecars = [newSidecar(), newSidecar()];
  let restore = l2.snapshot();
  const world = (): readonly (readonly [weight: number, act: () => void])[] => [
    [2, () => database.commit(dice.pick(rows))],
    [6, () => database.show()],
    [8, () => database.publish()],
    [12, () => l2.applyNext(database.topic)],
    [0.3, () => database.failOver()],
    [0.3, () => database.loseSlot()],
    [database.isCovered ? 0.2 : 4, () => database.toggleCoverage()],
    [0.2, () => l2.flush()],
    [0.2, () => l2.loseLog()],
    [0.6, () => l2.trim()],
    [1, () => (restore = l2.snapshot())],
    [0.8, () => restore()],
    [0.6, () => (sidecars[dice.below(2)] = newSidecar())],
    [110, () => dice.pick(sidecars).step()],
  ];
  for (let i = 0; i < STEPS; i++) {
    const acts = world();
    let roll = dice.fraction() * acts.reduce((sum, [weight]) => sum + weight, 0);
    acts.find(([weight]) => (roll -= weight) < 0)?.[1]();
    for (const sidecar of sidecars)
      if (sidecar.stale.length > 0) return { stale: `seed ${seed}, step ${i}: ${sidecar.stale[0]}`, served };
  }
  return { stale: undefined, served };
}

it('[I1] [I3] [I5] [I6] [I7] never serves a value that lacks an applied change', { timeout: 60_000 }, () => {
  const total: Served = { l1: 0, l2: 0, coalesced: 0 };
  for (let seed = 1; seed <= 1000; seed++) {
    const { stale, served } = history(seed, {});
    expect(stale).toBeUndefined();
    for (const from of ['l1', 'l2', 'coalesced'] as const) total[from] += served[from];
  }
  // A simulation in which nothing is served proves nothing.
  expect(Math.min(total.l1, total.l2, total.coalesced)).toBeGreaterThan(1_000);
});

const sabotages: Readonly<Record<string, Sabotage>> = {
  'keys are evicted from L1': {
    evictions: (target) => ({
      key: () => undefined,
      tag: (...a) => target.tag(...a),
      namespace: (...a) => target.namespace(...a),
    }),
  },
  'tags are evicted from L1': {
    evictions: (target) => ({
      key: (...a) => target.key(...a),
      tag: () => undefined,
      namespace: (...a) => target.namespace(...a),
    }),
  },
  'namespaces are flushed from L1': {
    evictions: (target) => ({
      key: (...a) => target.key(...a),
      tag: (...a) => target.tag(...a),
      namespace: () => undefined,
    }),
  },
  'leases carry the visible clock': {
    granting: (replica) => ({
      get visible() {
        return replica.applied;
      },
    }),
  },
  'fills are checked against fences': { filling: () => ({ newestFence: () => 0 }) },
  'fills are checked against the horizon': { filling: () => ({ horizon: 0 }) },
  'fills are checked against the epoch': { granting: () => ({ epoch: 7 }), filling: () => ({ epoch: 7 }) },
  'a gap is noticed': { ignoreGaps: true },
  'entries of Redis are checked against our fences': { reading: () => ({ newestFence: () => 0 }) },
  'a log behind our horizon is not believed': { reading: () => ({ horizon: 0 }) },
  'a namespace that the publisher does not cover is not cached': {
    granting: () => ({ covers: () => true }),
    filling: () => ({ covers: () => true }),
    reading: () => ({ covers: () => true }),
  },
  'entries of another epoch are not served': {
    found: (found, { epoch }) => ({
      ...found,
      entry: found.entry && { ...found.entry, epoch },
      context: { ...found.context, log: found.context.log?.replace(/^(\S+ \S+ \S+) \S+/, `$1 ${epoch}`) },
    }),
  },
  'a namespace that is flushed in Redis is not served from there': {
    found: (found) => ({
      ...found,
      context: { ...found.context, pair: found.context.pair === undefined ? undefined : 'a 0 0' },
    }),
  },
};

it.each(Object.entries(sabotages))(
  '[I1] [I3] [I5] [I6] [I7] finds the hole when it is not so that %s',
  { timeout: 60_000 },
  (_guard, sabotage) => {
    for (let seed = 1; seed <= 6000; seed++) if (history(seed, sabotage).stale !== undefined) return;
    expect.fail('no stale read was found in 6,000 histories');
  },
);
