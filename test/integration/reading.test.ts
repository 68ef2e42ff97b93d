import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createStack, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { type App, appsOf } from './support/app.ts';
import { PATIENT } from './support/patient.ts';
import { eventually } from './support/eventually.ts';
import { cacheable } from './support/stack.ts';

// How old an answer may be and for whom it is, on real parts: an endpoint of the application that can fail, and two sidecars.

/** What the application answers to loads; by path, so that each test has its own. */
const endpoint = { status: 200, loads: new Map<string, number>() };
let server: Server;
let stack: Stack;
let apps: App[];

beforeAll(async () => {
  server = createServer((request, response) => {
    const path = request.url ?? '';
    endpoint.loads.set(path, (endpoint.loads.get(path) ?? 0) + 1);
    response.writeHead(endpoint.status, { 'content-type': 'text/plain' });
    response.end(`${path.slice(1)} load ${endpoint.loads.get(path)}`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/{key}`;
  const common = {
    source: 'main',
    invalidate: [{ table: 'public.pages', keys: ['{id}'] }],
    load: { http: { url, retries: 0 }, timeout: '10s', breaker: { failures: 1000 } },
  };
  // What ends soon ends within a second; all else outlasts any test, however busy the machine is.
  const ttl = { jitter: '0%', staleIfError: '30m' };
  stack = await createStack(sharedServers(), {
    sidecars: 2,
    env: {
      sidecar: {
        ...PATIENT,
        TIDEMARK_COALESCE_TIMEOUT: '60s',
        TIDEMARK_SESSION_TIMEOUT: '30s',
      },
    },
    initSql: `create table pages (id text primary key, n int not null default 0);
      insert into pages select name from unnest(array['aging', 'stale', 'gone', 'kept', 'asked']) name;
      create table prices (id int primary key, n int not null default 0); insert into prices values (1)`,
    config: {
      namespaces: {
        soft: { ...common, ttl: { ...ttl, soft: '1s', hard: '30m' } },
        hard: { ...common, ttl: { ...ttl, hard: '1s' } },
        kept: { ...common, onInvalidate: 'stale', grace: { for: '30m', serve: 'on-error' } },
        asked: { ...common, onInvalidate: 'stale', grace: { for: '30m', serve: 'on-request' } },
        price: {
          source: 'main',
          vary: { headers: ['accept-language'], identity: ['x-tenant'] },
          invalidate: [{ table: 'public.prices', keys: ['{id}'] }],
        },
      },
    },
  });
  apps = appsOf(stack);
  await cacheable(stack);
});
afterAll(async () => {
  await stack?.stop();
  server?.close();
});

const app = (i = 0): App => apps[i] as App;
const failing = async (work: () => Promise<void>): Promise<void> => {
  endpoint.status = 500;
  try {
    await work();
  } finally {
    endpoint.status = 200;
  }
};
const change = (id: string): Promise<unknown> => stack.sql(`update pages set n = n + 1 where id = '${id}'`);
const cached = { 'cache-control': 'only-if-cached' };

describe('a value that is aging', () => {
  it('is answered, and one load replaces it', async () => {
    expect((await app().get('soft', 'aging')).body).toBe('aging load 1');
    await pause(1_100);
    expect(await app().get('soft', 'aging')).toMatchObject({
      body: 'aging load 1',
      cacheStatus: expect.stringMatching(/^tidemark; hit; ttl=-\d+; detail=l1$/) as string,
    });
    await eventually(async () => expect((await app().get('soft', 'aging')).body).toMatch(/^aging load [2-9]$/));
  });

  it('stands in beyond its hard TTL while it cannot be loaded, and no longer', async () => {
    expect((await app().get('hard', 'stale')).body).toBe('stale load 1');
    await pause(1_100);
    await failing(async () => {
      const old = await app().get('hard', 'stale');
      expect(old).toMatchObject({
        ...{ status: 200, body: 'stale load 1' },
        cacheStatus: expect.stringMatching(/^tidemark; hit; ttl=-\d+; detail=stale$/) as string,
      });
      // Nothing has changed it, so it still says up to where that is known.
      expect(old.lsn).toBeDefined();
      expect((await app().get('hard', 'stale', { 'cache-control': 'stale-if-error=0' })).status).toBe(502);
    });
    await eventually(async () => expect((await app().get('hard', 'stale')).body).toMatch(/^stale load [3-9]$/));
  });

  it('does not stand in once its row has changed', async () => {
    expect((await app().get('soft', 'gone')).body).toBe('gone load 1');
    await failing(async () => {
      await change('gone');
      await eventually(async () => expect((await app().get('soft', 'gone')).status).toBe(502));
    });
  });
});

describe('a value in grace', () => {
  it('stands in for what cannot be loaded, marked, without a position, and is replaced as soon as it can', async () => {
    expect((await app().get('kept', 'kept')).body).toBe('kept load 1');
    await failing(async () => {
      await change('kept');
      await eventually(async () =>
        expect(await app().get('kept', 'kept')).toMatchObject({
          ...{ status: 200, body: 'kept load 1', lsn: undefined },
          cacheStatus: expect.stringMatching(/; hit; .*detail=grace$/) as string,
        }),
      );
      const inSession = { 'tidemark-session': 'new' };
      expect((await app().get('kept', 'kept', inSession)).status).toBe(502);
    });
    await eventually(async () => {
      const answer = await app().get('kept', 'kept');
      expect(answer.body).not.toBe('kept load 1');
      expect(answer.cacheStatus).not.toContain('grace');
    });
  });

  it('is given to nobody who does not ask, where it has to be asked for', async () => {
    expect((await app().get('asked', 'asked')).body).toBe('asked load 1');
    await failing(async () => {
      await change('asked');
      await eventually(async () => expect((await app().get('asked', 'asked', cached)).status).toBe(404));
      expect((await app().get('asked', 'asked')).status).toBe(502);
      const old = await app().get('asked', 'asked', { 'cache-control': 'max-stale=1800' });
      expect(old).toMatchObject({ status: 200, body: 'asked load 1', lsn: undefined });
    });
  });

  it('is counted', async () => {
    const text = await (await fetch(`${stack.sidecars[0]?.admin}/metrics`)).text();
    const count = (result: string, namespace: string): number =>
      Number(new RegExp(`tidemark_requests_total{namespace="${namespace}",result="${result}"} (\\d+)`).exec(text)?.[1]);
    expect(count('hit_stale', 'hard')).toBeGreaterThan(0);
    expect(count('hit_grace', 'kept')).toBeGreaterThan(0);
    expect(count('failed', 'asked')).toBeGreaterThan(0);
    expect(text).toMatch(/tidemark_refreshes_total{namespace="soft"} [1-9]/);
  });
});

describe('values that differ by who asks', () => {
  const A = { 'x-tenant': 'a' };
  const B = { 'x-tenant': 'b', 'accept-language': 'de' };
  /** Refused while a change that was applied is not visible yet. */
  const fill = (i: number, headers: Record<string, string>, body: string): Promise<void> =>
    eventually(async () => {
      const { lease } = await app(i).get('price', '1', { ...headers, 'cache-control': 'no-cache' });
      expect((await app(i).put('price', '1', body, { lease, headers })).status).toBeLessThan(300);
    });

  it('[I20] are shared by Redis with those only for whom they are', async () => {
    // From when on Redis has a log.
    await eventually(async () => {
      await fill(0, A, 'of a');
      expect((await app(1).get('price', '1', { ...B, ...cached })).status).toBe(404);
      expect(await app(1).get('price', '1', { ...A, ...cached })).toMatchObject({
        body: 'of a',
        cacheStatus: expect.stringContaining('detail=l2') as string,
      });
    });
    expect((await app(1).get('price', '1')).status).toBe(400);
  });

  it('[I20] all fall when their row changes, in every sidecar and in Redis, and with a purge of the key', async () => {
    const gone = (headers: Record<string, string>): Promise<void> =>
      eventually(async () => {
        for (const i of [0, 1]) expect((await app(i).get('price', '1', { ...headers, ...cached })).status).toBe(404);
      });
    await fill(0, A, 'of a');
    await fill(1, B, 'of b');
    await stack.sql('update prices set n = n + 1');
    await Promise.all([gone(A), gone(B)]);
    await fill(0, A, 'of a');
    await fill(1, B, 'of b');
    await eventually(async () => expect((await app().delete('price', '1', A)).status).toBe(204));
    await Promise.all([gone(A), gone(B)]);
  });
});
