import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createStack, startMemcached, type MemcachedServer, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { appsOf, type App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { loadsByChange, ONCE, PATIENCE, totalOf } from './support/loads-by-change.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';
import { Changes, Origin, STAMPEDE_SQL } from './support/stampede.ts';

// One hot key, three sidecars that claim it in memcached, and a database that should see one query for each change of it.

const SIDECARS = 3;

const rule = { source: 'main', invalidate: [{ table: 'public.hot', keys: ['{id}'] }] };
let memcached: MemcachedServer;
let stack: Stack;
let origin: Origin;
let changes: Changes;
let apps: App[];

beforeAll(async () => {
  [memcached, origin] = await Promise.all([startMemcached(), Origin.start()]);
  const http = { url: `${origin.url}/loaded/{key}`, retries: 0 };
  const load = { http, timeout: '10s', breaker: { failures: 1000 } };
  stack = await createStack(sharedServers(), {
    sidecars: SIDECARS,
    redis: false,
    initSql: STAMPEDE_SQL,
    env: {
      sidecar: {
        TIDEMARK_MEMCACHED_URL: `memcached://127.0.0.1:${memcached.port}`,
        // On a busy machine an answer may take longer than the usual 50 ms, after which a sidecar would load alone.
        TIDEMARK_MEMCACHED_DEADLINE: '10s',
        TIDEMARK_COALESCE_TIMEOUT: '30s',
        TIDEMARK_MAX_STALENESS: '60s',
      },
    },
    config: { namespaces: { aside: rule, loaded: { ...rule, load } } },
  });
  origin.connect(stack.postgres);
  changes = await Changes.connect(stack.postgres);
  await cacheable(stack);
  apps = appsOf(stack);
});
afterAll(async () => {
  await Promise.all([changes?.stop(), origin?.stop()]);
  await stack?.stop();
  await memcached?.stop();
});
beforeEach(() => showLogsOnFailure(stack));

const total = (name: string): Promise<number> => totalOf(stack.sidecars, name);
const TAKEN = 'tidemark_claims_total{result="taken"}';

it.each(['aside', 'loaded'])(
  '[I21] a change of a hot key costs the database one load: namespace %s',
  PATIENCE,
  async (namespace) => {
    const taken = await total(TAKEN);
    // By the claims, and not because one sidecar was alone.
    const meanwhile = (): Promise<void> => eventually(async () => expect(await total(TAKEN)).toBeGreaterThan(taken));
    const { sidecars } = stack;
    expect(await loadsByChange({ sidecars, apps, origin, changes, namespace, meanwhile })).toEqual(ONCE);
    expect(await total('tidemark_claim_waits_total{result="value"}')).toBeGreaterThan(0);
  },
);

it('[I21] a load that fails releases the claim, and the next sidecar loads', async () => {
  const before = origin.loadsOf('loaded');
  origin.failing = 1;
  const answers = await Promise.all(apps.map((app) => app.get('loaded', 'y')));
  expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 200, 502]);
  expect(origin.loadsOf('loaded') - before).toBe(1);
});

it('[I21] a sidecar that is killed while it loads keeps nobody from the value', async () => {
  const [dies, second, third] = apps as [App, App, App];
  const handle = stack.sidecars[0]!;
  const hung = origin.hang();
  void dies.get('loaded', 'x').catch(() => undefined);
  await hung.reached();
  handle.hold();
  await handle.kill('SIGKILL');
  hung.release();
  try {
    const answers = await Promise.all([second.get('loaded', 'x'), third.get('loaded', 'x')]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
  } finally {
    await handle.release();
  }
  await cacheable(stack);
});

it('[I21] without memcached each sidecar loads at most once, and finds it again', async () => {
  const shows = (n: number) => async (): Promise<void> => {
    for (const app of apps) expect((await app.get('loaded', '1')).body).toBe(`${n}`);
  };
  await eventually(shows(changes.lsns.length - 1));
  memcached.hold();
  await memcached.kill('SIGKILL');
  try {
    for (let i = 0; i < 3; i += 1) {
      const before = origin.loadsOf('loaded');
      await eventually(shows(await changes.next()));
      expect(origin.loadsOf('loaded') - before).toBeLessThanOrEqual(SIDECARS);
    }
  } finally {
    await memcached.release();
  }
  const granted = await total('tidemark_claims_total{result="granted"}');
  await eventually(async () => {
    await eventually(shows(await changes.next()));
    expect(await total('tidemark_claims_total{result="granted"}')).toBeGreaterThan(granted);
  });
});
