import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createStack, startRedis, type RedisServer, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { appsOf, type Answer, type App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';
import { Changes, Origin, Readers, STAMPEDE_SQL } from './support/stampede.ts';

// One hot key, three sidecars with many readers each, and a database that should see one query for each change of it.

const SIDECARS = 3;
const READERS = 20;
const CHANGES = 8;
/** Half of TIDEMARK_COALESCE_TIMEOUT. */
const CLAIM_MS = 1_000;

const rule = { source: 'main', invalidate: [{ table: 'public.hot', keys: ['{id}'] }] };
let redis: RedisServer;
let stack: Stack;
let origin: Origin;
let changes: Changes;
let apps: App[];

beforeAll(async () => {
  [redis, origin] = await Promise.all([startRedis(), Origin.start()]);
  const load = (namespace: string): object => ({
    http: { url: `${origin.url}/${namespace}/{key}`, retries: 0 },
    breaker: { failures: 1000 },
  });
  stack = await createStack(sharedServers(), {
    sidecars: SIDECARS,
    initSql: STAMPEDE_SQL,
    env: { sidecar: { TIDEMARK_REDIS_URL: redis.url }, applier: { TIDEMARK_REDIS_URL: redis.url } },
    config: {
      namespaces: {
        aside: rule,
        loaded: { ...rule, load: load('loaded') },
        ahead: { ...rule, load: load('ahead'), refresh: { ahead: 10 } },
        alone: { ...rule, load: load('alone'), l2: { lease: false } },
      },
    },
  });
  origin.connect(stack.postgres);
  changes = await Changes.connect(stack.postgres);
  await cacheable(stack);
  apps = appsOf(stack);
}, 60_000);
afterAll(async () => {
  await Promise.all([changes?.stop(), origin?.stop()]);
  await stack?.stop();
  await redis?.stop();
});
beforeEach(() => showLogsOnFailure(stack));

/** Changes the row again and again while all read; how often each number was loaded. */
async function loadsByChange(namespace: string): Promise<number[]> {
  const options = { origin: origin.url, namespace, count: READERS, thinkMs: 5 };
  const readers = stack.sidecars.map(({ url }) => new Readers({ ...options, sidecar: url }));
  const shows = (n: number) => async (): Promise<void> => {
    for (const app of apps)
      expect((await app.get(namespace, '1', { 'cache-control': 'only-if-cached' })).body).toBe(`${n}`);
  };
  await eventually(shows(changes.lsns.length - 1));
  const counts: number[] = [];
  for (let i = 0; i < CHANGES; i += 1) {
    const before = origin.loadsOf(namespace);
    const n = await changes.next();
    await eventually(shows(n));
    // Whoever loads in vain has begun by now.
    await pause(50);
    counts.push(origin.loadsOf(namespace) - before);
  }
  await Promise.all(readers.map((each) => each.stop()));
  expect(readers.flatMap((each) => changes.stale(each.seen))).toEqual([]);
  expect(readers.map(({ errors }) => errors)).toEqual(readers.map(() => 0));
  expect(readers.reduce((sum, { timings }) => sum + timings.length, 0)).toBeGreaterThan(SIDECARS * READERS * CHANGES);
  return counts;
}

const ONCE = Array.from({ length: CHANGES }, () => 1);

it.each(['aside', 'loaded', 'ahead'])(
  '[I21] a change of a hot key costs the database one load, with three sidecars: namespace %s',
  { timeout: 60_000 },
  async (namespace) => expect(await loadsByChange(namespace)).toEqual(ONCE),
);

it('without the lease each sidecar loads', { timeout: 60_000 }, async () => {
  const counts = await loadsByChange('alone');
  expect(Math.max(...counts)).toBeGreaterThan(1);
  expect(Math.max(...counts)).toBeLessThanOrEqual(SIDECARS);
});

/** What a read answered, and after how long. */
async function timed(read: Promise<Answer>): Promise<Answer & { ms: number }> {
  const startedMs = performance.now();
  const answer = await read;
  return { ...answer, ms: performance.now() - startedMs };
}

it('[I21] a caller whose sidecar is killed while it loads holds the others up until its claim ends', async () => {
  const [dies, second, third] = apps as [App, App, App];
  const handle = stack.sidecars[0]!;
  expect((await dies.get('aside', 'x')).lease).toBeDefined();
  handle.hold();
  await handle.kill('SIGKILL');
  try {
    const waiting = [timed(second.get('aside', 'x')), timed(third.get('aside', 'x'))];
    const next = await Promise.race(waiting);
    expect(next.lease).toBeDefined();
    expect(next.ms).toBeLessThan(CLAIM_MS + 500);
    const holder = next === (await Promise.race([waiting[0], pause(0)])) ? second : third;
    expect((await holder.put('aside', 'x', 'value', { lease: next.lease })).status).toBe(201);
    const answers = await Promise.all(waiting);
    expect(answers.map(({ body }) => body).toSorted()).toEqual(['', 'value']);
    expect(Math.max(...answers.map(({ ms }) => ms))).toBeLessThan(CLAIM_MS + 700);
  } finally {
    await handle.release();
  }
  await cacheable(stack);
});

it('[I21] a load that fails holds nobody else up', async () => {
  const before = origin.loadsOf('loaded');
  origin.failing = 1;
  const answers = await Promise.all(apps.map((app) => timed(app.get('loaded', 'y'))));
  expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 200, 502]);
  expect(Math.max(...answers.map(({ ms }) => ms))).toBeLessThan(CLAIM_MS - 200);
  expect(origin.loadsOf('loaded') - before).toBe(1);
});

it('[I21] without Redis each sidecar loads at most once, and at once', async () => {
  const shows = (n: number) => async (): Promise<void> => {
    for (const app of apps) expect((await app.get('loaded', '1')).body).toBe(`${n}`);
  };
  await shows(changes.lsns.length - 1)();
  redis.hold();
  await redis.kill('SIGKILL');
  try {
    for (let i = 0; i < 3; i += 1) {
      const before = origin.loadsOf('loaded');
      await eventually(shows(await changes.next()), { withinMs: 2_000 });
      expect(origin.loadsOf('loaded') - before).toBeLessThanOrEqual(SIDECARS);
    }
  } finally {
    await redis.release();
  }
});
