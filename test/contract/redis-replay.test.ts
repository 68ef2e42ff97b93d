import { encodeEntry } from '@tidemark/proto';
import { bucketKeys, parseHeader } from '@tidemark/proto/redis';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRedis, type RedisServer } from '../kit/index.ts';
import { CarelessApplier } from './redis-log/applier.ts';
import { randomFrom } from './redis-log/random.ts';
import { RealApplier } from './redis-log/real-applier.ts';
import { Replayer } from './redis-log/replayer.ts';
import { SCRIPTS } from './redis-log/scripts.ts';
import { NAMES, PAIRS, TAGS } from './redis-log/source.ts';
import { World } from './redis-log/world.ts';

// Replays beside appliers in the histories of redis-log.test.ts: they never bring anything back, and what stands in Redis
// past the scripts is gone afterwards.

const STEPS = 120;
const HISTORIES = Number(process.env['TIDEMARK_TEST_HISTORIES'] ?? '60');
const FIRST_SEED = Number(process.env['TIDEMARK_TEST_SEED'] ?? '1');
const keys = bucketKeys('main', 0);

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

test('[I7] a replay beside careless appliers, on a Redis that forgets, lets nobody read what misses a change', async () => {
  let [taken, deleted, rewound] = [0, 0, 0];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + HISTORIES; seed++) {
    await redis.flushdb();
    const random = randomFrom(seed);
    const world = new World(redis, SCRIPTS, random);
    const before = async (): Promise<void> => {
      if (random.below(30) === 0) await world.disturb();
      if (random.below(5) === 0) await world.fill();
    };
    const replayer = new Replayer({ redis, source: world.source, random, before });
    const fresh = (prefix: string): string => world.fresh(prefix);
    const careless = { redis, scripts: SCRIPTS, source: world.source, random, fresh };
    world.add(new CarelessApplier({ ...careless, rules: new Set(PAIRS) }));
    world.add(new CarelessApplier({ ...careless, rules: new Set(PAIRS.slice(0, 2)) }));
    world.add(replayer);
    for (let i = 0; i < STEPS; i++) {
      const wrong = await world.step();
      if (wrong !== undefined) expect.fail(`seed ${seed}: ${wrong}\n${world.log.join('\n')}`);
    }
    taken += world.taken;
    deleted += replayer.deleted;
    rewound += replayer.rewound;
  }
  expect(taken).toBeGreaterThan(HISTORIES * 5);
  // What it does is not nothing: an applier that is behind has not deleted everything yet.
  expect(deleted).toBeGreaterThan(0);
  expect(rewound).toBeGreaterThan(0);
}, 3_600_000);

/** What is wrong after a replay over entries that nobody will ever delete, and fences that are lost; `stale` when one could be read before it. */
async function overPlanted(
  seed: number,
  mutation?: readonly [from: string, to: string],
): Promise<{ readonly stale: boolean; readonly wrong: string | undefined }> {
  await redis.flushdb();
  const random = randomFrom(seed);
  const world = new World(redis, SCRIPTS, random);
  const before = async (): Promise<void> => undefined;
  const options = { redis, source: world.source, random, before, freshName: () => world.fresh('n') };
  const applier = new RealApplier({ ...options, l2: ['a', 'b', 'c'] });
  world.add(applier);
  for (let i = 0; i < 30; i++) await world.step();
  for (let i = 0; i < 10; i++) world.source.publish();
  world.source.heal();
  for (let round = 0; round < 10 && !applier.isAtEnd; round++) await applier.act(1000);
  const header = parseHeader(applier.seen);
  if (header === undefined) return { stale: false, wrong: 'no log' };
  const { earliest, batches } = world.source;
  const oldest = batches.find(({ epoch }, offset) => epoch === header.epoch && offset >= earliest)?.from ?? 0;
  for (const pair of PAIRS) {
    for (const name of NAMES) {
      const tags = TAGS.filter(() => random.below(2) === 0);
      const times = {
        asOf: oldest + random.below(header.to - oldest + 1),
        storedAtMs: 0,
        freshUntilMs: 1,
        expiresAtMs: 1,
        keepUntilMs: 1,
        loadMs: 0,
      };
      const nothing = { absent: false, contentType: '', etag: '', body: new Uint8Array(0) };
      const envelope = Buffer.from(encodeEntry({ ...times, ...nothing, epoch: header.epoch, tags }));
      await redis.set(keys.entry(header.generation, pair, name), envelope, 'PX', 600_000);
    }
  }
  // Fences are missing, too.
  for (const tag of await redis.zrange(keys.tagFences, 0, '-1'))
    if (tag !== '' && random.below(2) === 0) await redis.zrem(keys.tagFences, tag);
  for (const pair of PAIRS) {
    const state = await redis.get(keys.pair(pair));
    if (state !== null && random.below(2) === 0) await redis.set(keys.pair(pair), state.replace(/ \d+$/, ' 0'));
  }
  const stale = (await world.findStale()) !== undefined;
  const replayer = new Replayer({ ...options, maxNames: 1000, ...(mutation && { mutation }) });
  replayer.begin(earliest);
  await replayer.go(1000);
  let wrong = await world.findStale();
  if (wrong !== undefined) return { stale, wrong };
  const once = await contents();
  replayer.begin(earliest);
  await replayer.go(1000);
  if (JSON.stringify(await contents()) !== JSON.stringify(once)) wrong = 'a second replay changed something';
  const { to, offset } = parseHeader((await redis.get(keys.log)) ?? '') ?? {};
  if (to !== header.to || offset !== header.offset) wrong = 'it moved the log';
  return { stale, wrong };
}

test('[I7] what was stored or removed past the scripts is no harm after a replay, and a second one changes nothing', async () => {
  let stale = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + HISTORIES; seed++) {
    const found = await overPlanted(seed);
    expect({ seed, wrong: found.wrong }).toEqual({ seed, wrong: undefined });
    if (found.stale) stale += 1;
  }
  expect(stale).toBeGreaterThan(HISTORIES / 10);
}, 3_600_000);

test.each([
  ['deletes nothing', "deleted = deleted + redis.call('UNLINK', entry)", ''],
  ['raises no fence on a namespace', 'fence > p.fence', 'false'],
  ['raises no fence on tags', 'raise(KEYS[3], h.tagFrom', 'raise(KEYS[3], math.huge'],
])(
  'the same histories find a script that %s',
  async (_name, from, to) => {
    for (let seed = 1; seed <= 1000; seed++) if ((await overPlanted(seed, [from, to])).wrong !== undefined) return;
    expect.fail('not found in 1000 histories');
  },
  3_600_000,
);

/** Everything in Redis, but for what changes with time. */
async function contents(): Promise<Record<string, string>> {
  const names = (await redis.keys('*')).toSorted();
  const dumps = await Promise.all(names.map(async (name) => (await redis.dump(name)) ?? ''));
  return Object.fromEntries(names.map((name, i) => [name, dumps[i] ?? '']));
}
