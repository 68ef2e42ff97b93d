import { decodeEntry, parseConfig, rulesOfSource, type Entry } from '@tidemark/proto';
import { setImmediate as settled } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { Outcome } from '../../../sidecar/src/core/flights.ts';
import type { L2Store } from '../../../sidecar/src/core/ports.ts';
import { MapStore } from '../../../sidecar/src/testing/fakes.ts';
import { Dice } from '../../../sidecar/src/testing/random.ts';
import { Database } from '../database.ts';
import type { KeySpec } from '../parts/keys.ts';
import { MemcachedModel } from './memcached.ts';
import { UnloggedSidecar, type Mutant } from './sidecar.ts';

// SPEC I17: three sidecars share values through a memcached that nobody keeps in step with the stream: it evicts, is flushed,
// answers late or never, and brings back what it had long ago, as a server does that was out of the list for a while. Sidecars lag,
// start anew, miss parts of the stream and forget their memory; fills come late; commits become visible late; epochs change, with
// and without commits that are lost. Whatever is served must have every change that its sidecar has applied.

const STEPS = 1_200;
/** TIDEMARK_TEST_HISTORIES makes it a soak. */
const HISTORIES = Number(process.env['TIDEMARK_TEST_HISTORIES'] ?? '60');

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

interface Told {
  wrong: string | undefined;
  /** Values that came from memcached. */
  shared: number;
}

async function history(seed: number, mutant: Mutant = {}): Promise<Told> {
  const dice = new Dice(seed);
  const told: Told = { wrong: undefined, shared: 0 };
  const memcached = new MemcachedModel((before, after) => {
    const [old, young] = [decodeEntry(before), decodeEntry(after)];
    if (old !== undefined && young !== undefined && old.epoch === young.epoch && young.asOf < old.asOf)
      told.wrong ??= `a value as of ${young.asOf} took the place of one as of ${old.asOf}`;
  });
  let comeBack = memcached.keepForLater();
  const database = new Database({ dice, rows, covers: rules.namespaces.map(({ hash }) => hash) });
  const newSidecar = (): UnloggedSidecar => new UnloggedSidecar({ dice, database, memcached, rules, config, mutant });
  const sidecars = [newSidecar(), newSidecar(), newSidecar()];
  const loads: (() => void)[] = [];

  const check = (sidecar: UnloggedSidecar, spec: KeySpec, outcome: Outcome & { kind: 'value' }): void => {
    if (outcome.from === 'l2') told.shared += 1;
    const at = { epoch: sidecar.replica.epoch, applied: sidecar.replica.applied };
    spec.rows.forEach((row, i) => {
      const [found, least] = [outcome.entry.body[i] as number, database.leastVersion(row, at)];
      if (found < least)
        told.wrong ??= `${spec.key} from ${outcome.from}: row ${row} at version ${found}, ${least} was applied`;
    });
  };
  const load = (sidecar: UnloggedSidecar, spec: KeySpec, token: string): void => {
    const body = Uint8Array.from(spec.rows.map((row) => database.read(row)));
    loads.push(() => {
      const { key, tags } = spec;
      const fill = { namespace: sidecar.namespace(spec.namespace), key, token, tags, body };
      sidecar.filler.fill({ ...fill, absent: false, contentType: '', etag: '' });
    });
  };
  const read = (): void => {
    const [sidecar, spec] = [dice.pick(sidecars), dice.pick(keys)];
    sidecar.reader.read({
      ...{ namespace: sidecar.namespace(spec.namespace), key: spec.key, mode: 'usual' },
      settle: (outcome) => {
        if (outcome.kind === 'value') check(sidecar, spec, outcome);
        const token = outcome.kind === 'miss' ? outcome.lease?.token : undefined;
        if (token !== undefined && dice.chance(0.8)) loads.push(() => load(sidecar, spec, token));
      },
    });
  };
  const acts: readonly (readonly [weight: number, act: () => void])[] = [
    [1.5, () => database.commit(dice.pick(rows))],
    [6, () => database.show()],
    [12, () => database.publish()],
    [0.15, () => database.failOver()],
    [0.15, () => database.loseSlot()],
    [0.2, () => database.toggleCoverage()],
    [0.3, () => memcached.flush()],
    [2, () => memcached.delete(dice.pick([...memcached.keys, 'none']))],
    [0.5, () => (comeBack = memcached.keepForLater())],
    [1, () => comeBack()],
    [0.5, () => (sidecars[dice.below(3)] = newSidecar())],
    [180, () => dice.pick(sidecars).step()],
    [25, read],
    [25, () => dice.draw(loads)?.()],
  ];
  const weight = acts.reduce((sum, [each]) => sum + each, 0);
  for (let i = 0; i < STEPS && told.wrong === undefined; i++) {
    let roll = dice.fraction() * weight;
    acts.find(([each]) => (roll -= each) < 0)?.[1]();
    await settled();
  }
  return told;
}

it(
  '[I17] whatever is served from a backend without a fence log has what was applied',
  { timeout: 300_000 },
  async () => {
    let shared = 0;
    for (let seed = 1; seed <= HISTORIES; seed++) {
      const one = await history(seed);
      expect(one.wrong).toBeUndefined();
      shared += one.shared;
    }
    // A simulation in which nothing is shared proves nothing.
    expect(shared).toBeGreaterThan(2 * HISTORIES);
  },
);

/** A store that gives entries of its own making. */
function giving(store: L2Store, change: (entry: Entry) => Entry): L2Store {
  return new Proxy(store, {
    get: (target, name) => {
      if (name === 'read')
        return async (...args: Parameters<L2Store['read']>) => {
          const found = await target.read(...args);
          return typeof found === 'string' || found.entry === undefined
            ? found
            : { ...found, entry: change(found.entry) };
        };
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** The first history that finds it, and the mistake. */
const careless: Readonly<Record<string, readonly [seed: number, mutant: Mutant]>> = {
  'an entry from before a sidecar began to listen is a miss': [8, { view: { horizon: 0 } }],
  'what a sidecar heard since is asked of its fences': [2, { view: { newestFence: () => 0 } }],
  'an entry of another epoch is a miss': [
    8,
    {
      store: (store, replica) =>
        giving(store, (entry) => ({ ...entry, epoch: entry.epoch === replica.epoch ? entry.epoch : replica.epoch })),
    },
  ],
  'an entry is replaced only if it is the one that was looked at': [
    9,
    {
      client: (client) => ({
        ...client,
        cas: async (key, value, { ttlS }) => {
          await client.set(key, value, ttlS);
          return 'stored';
        },
      }),
    },
  ],
  'what is stored again stands in memory still': [
    1,
    {
      l1: () =>
        new (class extends MapStore {
          readonly #ever = new Map<string, Entry>();

          override set(key: string, entry: Entry): boolean {
            this.#ever.set(key, entry);
            return super.set(key, entry);
          }

          override recent(): [string, Entry][] {
            return [...this.#ever];
          }
        })(),
    },
  ],
  'what is stored again is as of what was applied, no later': [
    1,
    {
      store: (store) =>
        new Proxy(store, {
          get: (target, name) => {
            if (name === 'fill')
              return (...[namespace, key, entry]: Parameters<L2Store['fill']>) =>
                target.fill(namespace, key, { ...entry, asOf: entry.asOf + 10 });
            const value: unknown = Reflect.get(target, name, target);
            return typeof value === 'function' ? (value.bind(target) as unknown) : value;
          },
        }),
    },
  ],
};

it.each(Object.entries(careless))(
  '[I17] finds the hole when it is not so that %s',
  { timeout: 600_000 },
  async (_rule, [firstSeed, mutant]) => {
    if ((await history(firstSeed, mutant)).wrong !== undefined) return;
    // The histories have changed: write the seed that is found now into the list.
    for (let seed = 1; seed <= 3_000; seed++)
      if ((await history(seed, mutant)).wrong !== undefined) expect(seed).toBe(firstSeed);
    expect.fail('nothing stale was served in 3,000 histories');
  },
);
