import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createStack, startRedis, type RedisServer, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { appsOf, type App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { metric } from './support/l2.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';

// What loading.md and stampedes.md say is counted, is there and moves.

/** Answers the status that a key names, or waits until it is let go. */
const hung: (() => void)[] = [];
// Connections last: one that ends when a load takes it is a failure, where nothing is asked for again.
const endpoint = createServer({ keepAliveTimeout: 120_000 }, (request, response) => {
  const status = Number(request.url?.split('/').at(-1)?.split('-')[0]);
  if (status === 0) hung.push(() => response.end('at last'));
  else response.writeHead(status).end(status === 200 ? 'v' : '');
});
endpoint.listen(0, '127.0.0.1');
await once(endpoint, 'listening');
const url = `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/{key}`;

let redis: RedisServer;
let stack: Stack;
let apps: [App, App];

beforeAll(async () => {
  redis = await startRedis();
  const of = { source: 'main', invalidate: [{ table: 'public.t', keys: ['{id}'] }] };
  const none = { timeout: '10s', breaker: { failures: 1_000 } };
  stack = await createStack(sharedServers(), {
    sidecars: 2,
    initSql: 'create table t (id text primary key, v text); insert into t select i, i from generate_series(1, 50) i',
    env: {
      sidecar: {
        TIDEMARK_REDIS_URL: redis.url,
        // So long that a busy machine does not matter beside it.
        TIDEMARK_REDIS_DEADLINE: '10s',
        TIDEMARK_COALESCE_TIMEOUT: '60s',
        TIDEMARK_MAX_STALENESS: '60s',
        TIDEMARK_LOAD_POOL: '1',
      },
      applier: { TIDEMARK_REDIS_URL: redis.url },
    },
    config: {
      namespaces: {
        sql: { ...of, maxItemBytes: '8B', load: { sql: 'select v from t where id = $1', ...none } },
        slow: { ...of, load: { sql: 'select pg_sleep($1::float8)::text, 1', ...none, timeout: '300ms' } },
        http: { ...of, load: { http: { url, retries: 0, connections: 1 }, ...none } },
        fragile: { ...of, load: { http: { url, retries: 0 }, ...none, breaker: { failures: 1, for: '10m' } } },
        hot: { ...of, load: { sql: 'select v from t where id = $1', ...none }, refresh: { ahead: 10 } },
      },
    },
  });
  await cacheable(stack);
  apps = appsOf(stack) as [App, App];
});
afterAll(async () => {
  endpoint.closeAllConnections();
  endpoint.close();
  await stack?.stop();
  await redis?.stop();
});
beforeEach(() => showLogsOnFailure(stack));

const read = (name: string, sidecar = 0): Promise<number> => metric(stack.sidecars[sidecar]!.admin, name);

/** By how much it grows. */
async function growth(name: string, during: () => Promise<unknown>, sidecar = 0): Promise<number> {
  const before = await read(name, sidecar);
  await during();
  return (await read(name, sidecar)) - before;
}

describe('each load', () => {
  it.each([
    ['value', 'sql', '1', 200],
    ['absent', 'sql', 'nobody', 404],
    ['too_large', 'sql', 'large', 502],
    ['timeout', 'slow', '30', 504],
    ['error', 'http', '403', 502],
    ['unavailable', 'http', '503', 503],
    ['unavailable', 'fragile', '503', 503],
    ['open', 'fragile', '200', 503],
  ])('is counted by how it ends, and timed: %s in %s', async (result, namespace, key, status) => {
    // A connection that is there: where one cannot be made in time a load fails for another reason.
    if (key === '30') expect((await apps[0].get('sql', '2')).status).toBe(200);
    if (key === 'large') await stack.sql("insert into t values ('large', '123456789') on conflict do nothing");
    const ask = async (): Promise<void> => expect((await apps[0].get(namespace, key)).status).toBe(status);
    let timed = 0;
    const counted = await growth(`tidemark_loads_total{namespace="${namespace}",result="${result}"}`, async () => {
      timed = await growth(`tidemark_load_seconds_count{namespace="${namespace}"}`, ask);
    });
    expect([counted, timed]).toEqual([1, 1]);
  });

  it('that is under way keeps a connection busy, for which others wait, and the rest are refused', async () => {
    expect(await read('tidemark_load_connections_max')).toBe(1);
    const all: Promise<unknown>[] = [];
    // They end by themselves, and what failed is not tried again at once: so others come each time.
    const begin = (): void => {
      for (let i = 0; i < 80; i += 1) all.push(apps[0].get('slow', `0.2${1_000 + all.length}`));
    };
    await eventually(async () => {
      begin();
      const counted = await Promise.all(['connections_busy', 'waiting'].map((name) => read(`tidemark_load_${name}`)));
      expect(counted.map((count) => count > 0)).toEqual([true, true]);
    });
    await Promise.all(all);
    expect(await read('tidemark_loads_total{namespace="slow",result="busy"}')).toBeGreaterThan(0);
    await eventually(async () => {
      expect(await read('tidemark_load_connections_busy')).toBe(0);
      expect(await read('tidemark_load_waiting')).toBe(0);
    });
  });

  it('that is not tried any more shows an open breaker', async () => {
    expect(await read('tidemark_load_breakers_open{namespace="fragile"}')).toBe(1);
    expect(await read('tidemark_load_breakers_open{namespace="http"}')).toBe(0);
  });
});

describe('what keeps loads few', () => {
  it('is counted: who claims a key, who waits for another, and what for', async () => {
    const [granted, taken] = ['granted', 'taken'].map((result) => `tidemark_claims_total{result="${result}"}`);
    const grants = await growth(granted!, async () => {
      const first = apps[0].get('http', '0-1');
      await eventually(() => expect(hung).toHaveLength(1));
      const second = apps[1].get('http', '0-1');
      await eventually(async () => expect(await read('tidemark_waiting_loads', 1)).toBe(1));
      await eventually(async () => expect(await read(taken!, 1)).toBeGreaterThan(0));
      hung.splice(0).forEach((end) => end());
      expect((await Promise.all([first, second])).map(({ body }) => body)).toEqual(['at last', 'at last']);
    });
    expect(grants).toBe(1);
    await eventually(async () => {
      expect(await read('tidemark_claim_waits_total{result="value"}', 1)).toBe(1);
      expect(await read('tidemark_waiting_loads', 1)).toBe(0);
    });
  });

  it('is counted: what is loaded ahead of readers', async () => {
    await eventually(async () => {
      const began = await growth('tidemark_ahead_loads_total', async () => {
        // Which keys are hot is known of a sample.
        for (let i = 0; i < 100; i += 1) await apps[0].get('hot', '7');
        await stack.sql("update t set v = v || '.' where id = '7'");
      });
      expect(began).toBeGreaterThan(0);
    });
  });
});

it('no page names a metric that is not there', async () => {
  const text = await (await fetch(`${stack.sidecars[0]!.admin}/metrics`)).text();
  const exported = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
  for (const page of ['loading', 'stampedes']) {
    const said = await readFile(new URL(`../../sidecar/docs/${page}.md`, import.meta.url), 'utf8');
    const named = [...said.matchAll(/\btidemark_[a-z0-9_]+/g)].map(([name]) => name);
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((name) => !exported.has(name))).toEqual([]);
  }
});
