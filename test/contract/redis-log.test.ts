import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRedis, type RedisServer } from '../kit/index.ts';
import { parseHeader } from '@tidemark/proto/redis';
import { CarelessApplier } from './redis-log/applier.ts';
import { RealApplier } from './redis-log/real-applier.ts';
import { PAIRS } from './redis-log/source.ts';
import { randomFrom } from './redis-log/random.ts';
import { MUTANTS, SCRIPTS, type Scripts } from './redis-log/scripts.ts';
import { TwinRedis } from './redis-log/twin.ts';
import type { LogRedis } from './redis-log/log-redis.ts';
import { World } from './redis-log/world.ts';

// Histories are the same for the same seed. Those that find nothing wrong with the scripts find each of the mutants, so
// they can find what the mutants stand for.

const STEPS = 120;
/** TIDEMARK_TEST_HISTORIES makes it a soak; TIDEMARK_TEST_SEED begins elsewhere, or repeats what failed. */
const HISTORIES = Number(process.env['TIDEMARK_TEST_HISTORIES'] ?? '150');
const FIRST_SEED = Number(process.env['TIDEMARK_TEST_SEED'] ?? '1');
const MAX_HISTORIES_A_MUTANT = 1000;

let server: RedisServer;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis({ settings: { appendonly: 'no' } });
  redis = new Redis(server.url, { protocol: 2 });
});
afterAll(async () => {
  redis?.disconnect();
  await server?.stop();
});

interface History {
  readonly wrong: string | undefined;
  readonly world: World;
}

async function play(world: World): Promise<History> {
  for (let i = 0; i < STEPS; i++) {
    const wrong = await world.step();
    if (wrong !== undefined) return { wrong, world };
  }
  return { wrong: undefined, world };
}

/** Two appliers that do what they should not. */
async function careless(scripts: Scripts, seed: number, on: LogRedis = redis, promotes = false): Promise<History> {
  await on.flushdb();
  const random = randomFrom(seed);
  const world = new World(on, scripts, random, promotes ? { promoting: randomFrom(-seed) } : {});
  for (const rules of [new Set(PAIRS), new Set(PAIRS.slice(0, 2))]) {
    const fresh = (prefix: string): string => world.fresh(prefix);
    world.add(new CarelessApplier({ redis: on, scripts, source: world.source, random, rules, fresh }));
  }
  return play(world);
}

/** The applier of the product, and now and then a second one with other rules; both are disturbed in the middle of their work. */
async function real(
  seed: number,
  on: LogRedis = redis,
): Promise<History & { readonly applier: RealApplier; readonly calm: () => void }> {
  await on.flushdb();
  const random = randomFrom(seed);
  const world = new World(on, SCRIPTS, random);
  let isCalm = false;
  const before = async (): Promise<void> => {
    if (isCalm) return;
    if (random.below(30) === 0) await world.disturb();
    if (random.below(5) === 0) await world.fill();
  };
  const options = { redis: on, source: world.source, random, before, freshName: () => world.fresh('n') };
  const applier = new RealApplier({ ...options, l2: ['a', 'b', 'c'] });
  for (let i = 0; i < 4; i++) world.add(applier);
  world.add(new RealApplier({ ...options, l2: ['a', 'b'] }));
  const played = await play(world);
  return { ...played, applier, calm: () => void (isCalm = true) };
}

test('[I7] no entry that can be read misses anything up to the position of its log', async () => {
  let taken = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + HISTORIES; seed++) {
    const { wrong, world } = await careless(SCRIPTS, seed);
    if (wrong !== undefined) expect.fail(`seed ${seed}: ${wrong}\n${world.log.join('\n')}`);
    taken += world.taken;
  }
  expect(taken).toBeGreaterThan(HISTORIES * 10);
}, 3_600_000);

test('[I7] the applier comes through the same, and keeps up as soon as it is left alone', async () => {
  const seen = { begun: new Set<string>(), holes: 0, taken: 0 };
  for (let seed = FIRST_SEED; seed < FIRST_SEED + HISTORIES / 2; seed++) {
    const { wrong, world, applier, calm } = await real(seed);
    if (wrong !== undefined) expect.fail(`seed ${seed}: ${wrong}\n${world.log.join('\n')}`);
    calm();
    world.source.heal();
    let rounds = 0;
    do {
      await applier.act(1000);
      rounds += 1;
    } while (!applier.isAtEnd && rounds < 10);
    const header = parseHeader(applier.seen);
    const last = world.source.batches.at(-1);
    if (header === undefined || last === undefined) expect.fail(`seed ${seed}: no log`);
    expect({ seed, to: header.to, epoch: header.epoch, rounds: rounds < 10 }).toEqual({
      ...{ seed, to: last.to, epoch: last.epoch, rounds: true },
    });
    const stored = await world.put(header, { pair: PAIRS[0] as string, name: 'k1', tags: [], asOf: last.to });
    expect(stored).toMatch(/: (ok|newer)$/);
    for (const reason of applier.begun) seen.begun.add(reason);
    seen.holes += applier.holes;
    seen.taken += world.taken;
  }
  expect([...seen.begun].toSorted()).toEqual(['damaged', 'epoch', 'gap', 'lost', 'missing']);
  expect(seen.holes).toBeGreaterThan(0);
  expect(seen.taken).toBeGreaterThan(HISTORIES);
}, 3_600_000);

test('[I7] the model of Redis that the simulation uses answers as Redis does, and holds the same', async () => {
  const twin = new TwinRedis(redis);
  for (let seed = FIRST_SEED; seed < FIRST_SEED + HISTORIES / 3; seed++) {
    await careless(SCRIPTS, seed, twin);
    await twin.compareAll();
    await careless(SCRIPTS, seed, twin, true);
    await twin.compareAll();
    await real(seed, twin);
    await twin.compareAll();
  }
  expect(twin.compared).toBeGreaterThan(HISTORIES * 100);
}, 3_600_000);

test('[I12] no entry misses anything up to the position that it was promoted to', async () => {
  let promoted = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + HISTORIES / 2; seed++) {
    const { wrong, world } = await careless(SCRIPTS, seed, redis, true);
    if (wrong !== undefined) expect.fail(`seed ${seed}: ${wrong}\n${world.log.join('\n')}`);
    promoted += world.promoted;
  }
  expect(promoted).toBeGreaterThan(HISTORIES);
}, 3_600_000);

describe('[I7] the same histories find a script that would go on', () => {
  test.each(MUTANTS)('history %i: %s', { timeout: 3_600_000 }, async (...mutation) => {
    const [firstSeed, , script, from, to] = mutation;
    expect(SCRIPTS[script]).toContain(from);
    const mutant = { ...SCRIPTS, [script]: SCRIPTS[script].replaceAll(from, to) };
    if ((await careless(mutant, firstSeed)).wrong !== undefined) return;
    // The histories have changed: write the seed that is found now into the list.
    for (let seed = 1; seed <= MAX_HISTORIES_A_MUTANT; seed++) {
      if ((await careless(mutant, seed)).wrong !== undefined) expect(seed).toBe(firstSeed);
    }
    expect.fail(`not found in ${MAX_HISTORIES_A_MUTANT} histories`);
  });
});
