import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeEach, expect, it } from 'vitest';
import { eventually } from './support/eventually.ts';
import { judgeReads } from './support/judged-reads.ts';
import { useStack } from './support/stack.ts';

// A namespace that sidecars load from the application's own endpoint.

/** The application: it reads what it is asked for from the primary. */
// Connections last: one that ends when a load takes it is a failure, where nothing is asked for again.
const endpoint = createServer({ keepAliveTimeout: 120_000 }, (request, response) => void answer(request, response));
endpoint.listen(0, '127.0.0.1');
await once(endpoint, 'listening');
afterAll(() => void endpoint.close());

let isDown = false;
let asked = 0;
/** Keys of this shape it looks up in the caches, the one after the other, and says what it was told there. */
const LOOPS = /^loop/;
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  asked += 1;
  const { 'tidemark-load': load } = request.headers;
  if (isDown || typeof load !== 'string' || !load.startsWith('?1')) {
    response.writeHead(503).end();
    return;
  }
  const id = decodeURIComponent(request.url?.split('/').at(-1) ?? '');
  if (LOOPS.test(id)) {
    const told: string[] = [];
    for (const each of used.apps) {
      const { status, body } = await each.get('counter', id, { 'tidemark-load': load });
      told.push(`${status} ${(JSON.parse(body) as { type: string }).type}`);
    }
    response.end(told.join());
    return;
  }
  const [row] = await used.stack.sql<{ id: number; n: number }>('select id, n from counters where id::text = $1', [id]);
  if (row === undefined) response.writeHead(404).end();
  else response.writeHead(200, { 'content-type': 'application/json', 'surrogate-key': 'all' }).end(JSON.stringify(row));
}

/** How long nothing is asked after three failures. */
const OPEN_MS = 2_000;

const used = useStack({
  sidecars: 2,
  initSql: `
    create table counters (id int primary key, n int not null);
    insert into counters select i, 0 from generate_series(1, 20) i;`,
  // A busy machine may take seconds for a load, and hear nothing of the stream for as long.
  env: { sidecar: { TIDEMARK_COALESCE_TIMEOUT: '30s', TIDEMARK_MAX_STALENESS: '60s' } },
  config: {
    namespaces: {
      counter: {
        source: 'main',
        invalidate: [{ table: 'public.counters', keys: ['{id}'] }],
        load: {
          http: { url: `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/counters/{key}`, retries: 0 },
          timeout: '10s',
          breaker: { failures: 3, for: `${OPEN_MS}ms` },
        },
      },
    },
  },
});
const app = () => used.apps[0] as (typeof used.apps)[number];

beforeEach(() => {
  isDown = false;
});

it('is asked once for what is there, and once for what is not', async () => {
  asked = 0;
  for (let i = 0; i < 20; i += 1) expect((await app().get('counter', '1')).body).toBe('{"id":1,"n":0}');
  for (let i = 0; i < 20; i += 1) expect((await app().get('counter', 'nobody')).status).toBe(404);
  expect(asked).toBe(2);
});

it('that fails is left alone for a while, and asked again afterwards', async () => {
  isDown = true;
  asked = 0;
  const statuses: number[] = [];
  const beganMs = performance.now();
  // Each key by itself: what has just failed is not tried again at once.
  for (let i = 0; i < 10; i += 1) statuses.push((await app().get('counter', `x${i}`)).status);
  expect(new Set(statuses)).toEqual(new Set([503]));
  expect(asked).toBeGreaterThanOrEqual(3);
  // Each time that it was left alone for so long a single one tries.
  expect(asked).toBeLessThanOrEqual(3 + Math.floor((performance.now() - beganMs) / OPEN_MS));
  isDown = false;
  await eventually(async () => expect((await app().get('counter', '2')).status).toBe(200));
});

it('that asks the cache for what it is being asked for is told so at once, by whichever sidecar', async () => {
  const loop = '508 urn:tidemark:problem:load-loop';
  expect(await app().get('counter', 'loop:é/1')).toMatchObject({ status: 200, body: [loop, loop].join() });
});

it('[I5] no read is older than a commit that it names, while rows change all the time', async () => {
  const judged = await judgeReads(used.stack, used.apps, { namespace: 'counter', keys: 20, reads: 1000 });
  expect(judged.reads).toBeGreaterThanOrEqual(1000);
  expect(judged.failed).toBe(0);
}, 300_000);
