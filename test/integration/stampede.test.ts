import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createStack, startRedis, type RedisServer, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { appsOf, type Answer, type App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';
import { loadsByChange, ONCE, PATIENCE, totalOf } from './support/loads-by-change.ts';
import { Changes, Origin, STAMPEDE_SQL } from './support/stampede.ts';

// One hot key, three sidecars with many readers each, and a database that should see one query for each change of it.

const SIDECARS = 3;
/** So long that a busy machine does not matter beside it. */
const WAIT_MS = 30_000;
const CLAIM_MS = WAIT_MS / 2;
const REDIS_MS = 10_000;

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
    timeout: '10s',
    breaker: { failures: 1000 },
  });
  stack = await createStack(sharedServers(), {
    sidecars: SIDECARS,
    initSql: STAMPEDE_SQL,
    env: {
      sidecar: {
        TIDEMARK_REDIS_URL: redis.url,
        // Where Redis takes longer than the usual 50 ms a sidecar loads alone.
        TIDEMARK_REDIS_DEADLINE: `${REDIS_MS}ms`,
        TIDEMARK_MAX_STALENESS: '60s',
        TIDEMARK_COALESCE_TIMEOUT: `${WAIT_MS}ms`,
      },
      applier: { TIDEMARK_REDIS_URL: redis.url },
    },
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
});
afterAll(async () => {
  await Promise.all([changes?.stop(), origin?.stop()]);
  await stack?.stop();
  await redis?.stop();
});
beforeEach(() => showLogsOnFailure(stack));

const loadsOf = (namespace: string, meanwhile?: () => Promise<unknown>): Promise<number[]> =>
  loadsByChange({
    ...{ sidecars: stack.sidecars, apps, origin, changes, namespace },
    ...(meanwhile !== undefined && { meanwhile }),
  });

/** Another sidecar has asked for what one loads. */
async function contended(): Promise<void> {
  const taken = (): Promise<number> => totalOf(stack.sidecars, 'tidemark_claims_total{result="taken"}');
  const before = await taken();
  await eventually(async () => expect(await taken()).toBeGreaterThan(before));
}

it.each(['aside', 'loaded', 'ahead'])(
  '[I21] a change of a hot key costs the database one load, with three sidecars: namespace %s',
  PATIENCE,
  async (namespace) => expect(await loadsOf(namespace, contended)).toEqual(ONCE),
);

it('without the lease each sidecar loads', PATIENCE, async () => {
  expect(Math.max(...(await loadsOf('alone')))).toBeLessThanOrEqual(SIDECARS);
  const before = origin.loadsOf('alone');
  const held = origin.holdAll('alone');
  const n = await changes.next();
  const reads = apps.map((app) => eventually(async () => expect((await app.get('alone', '1')).body).toBe(`${n}`)));
  await eventually(() => expect(held.waiting).toBe(SIDECARS));
  held.release();
  await Promise.all(reads);
  expect(origin.loadsOf('alone') - before).toBe(SIDECARS);
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
    // A sidecar that had not heard of the end of the claim would have waited for three quarters of the timeout.
    expect(next.ms).toBeLessThan(0.7 * WAIT_MS);
    const holder = next === (await Promise.race([waiting[0], pause(0)])) ? second : third;
    expect((await holder.put('aside', 'x', 'value', { lease: next.lease })).status).toBe(201);
    const answers = await Promise.all(waiting);
    expect(answers.map(({ body }) => body).toSorted()).toEqual(['', 'value']);
    expect(Math.max(...answers.map(({ ms }) => ms))).toBeLessThan(0.75 * WAIT_MS);
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
  await eventually(shows(changes.lsns.length - 1));
  redis.hold();
  await redis.kill('SIGKILL');
  try {
    for (let i = 0; i < 3; i += 1) {
      const before = origin.loadsOf('loaded');
      // Nobody waits for what Redis does not say.
      await eventually(shows(await changes.next()), { withinMs: 0.8 * REDIS_MS });
      expect(origin.loadsOf('loaded') - before).toBeLessThanOrEqual(SIDECARS);
    }
  } finally {
    await redis.release();
  }
});
