import { once } from 'node:events';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { createServer, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { createStack, type Stack } from '../kit/index.ts';
import { uniqueWord, withKafkaAdmin } from '../kit/names.ts';
import { sharedServers } from '../kit/shared.ts';
import { appsOf, type App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { metric } from './support/l2.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';

// Loads whose callers go away, whose endpoint does not answer, and whose namespace is changed or removed meanwhile; and that nothing stays.

/** Requests that wait for an answer, by key. */
const asked: { readonly key: string; readonly answer: ServerResponse }[] = [];
// Connections last: one that ends when a load takes it is a failure, where nothing is asked for again.
const endpoint = createServer(
  { keepAliveTimeout: 120_000 },
  ({ url = '' }, answer) => void asked.push({ key: url.slice(1), answer }),
);
endpoint.listen(0, '127.0.0.1');
await once(endpoint, 'listening');
const http = { url: `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/{key}`, retries: 0 };
const page = {
  source: 'main',
  invalidate: [{ table: 'public.pages', keys: ['{id}'] }],
  load: { http, timeout: '10s', breaker: { failures: 1_000 } },
};

const topic = `${uniqueWord()}.config`;
let stack: Stack;
let app: App;

beforeAll(async () => {
  const follows = { TIDEMARK_CONFIG: '', TIDEMARK_CONFIG_TOPIC: topic };
  stack = await createStack(sharedServers(), {
    sidecars: 1,
    supervise: false,
    env: {
      ...{ invalidator: { TIDEMARK_CONFIG_TOPIC: topic }, applier: follows },
      // So long that a busy machine does not matter beside it.
      sidecar: { ...follows, TIDEMARK_COALESCE_TIMEOUT: '60s', TIDEMARK_MAX_STALENESS: '60s' },
    },
    initSql: 'create table pages (id text primary key, n int)',
    config: { namespaces: { page, other: { ...page, load: undefined } } },
  });
  [app] = appsOf(stack) as [App];
  await cacheable(stack);
});
afterAll(async () => {
  endpoint.closeAllConnections();
  endpoint.close();
  await stack?.stop();
  await withKafkaAdmin(sharedServers().kafka.brokers, (admin) => admin.deleteTopics({ topics: [topic] }));
});
beforeEach(() => showLogsOnFailure(stack));

/** The next request of the endpoint for this key. */
async function requestFor(key: string): Promise<ServerResponse> {
  return eventually(() => {
    const at = asked.findIndex((each) => each.key === key);
    expect(at, `a request for ${key}`).toBeGreaterThanOrEqual(0);
    return asked.splice(at, 1)[0]!.answer;
  });
}

async function change(edit: (namespaces: Record<string, object>) => Record<string, object>): Promise<void> {
  const document = parse(await readFile(stack.configFile, 'utf8')) as { namespaces: Record<string, object> };
  await writeFile(`${stack.configFile}.new`, stringify({ ...document, namespaces: edit(document.namespaces) }));
  await rename(`${stack.configFile}.new`, stack.configFile);
}

async function nothingStays(): Promise<void> {
  const { admin } = stack.sidecars[0]!;
  await eventually(async () => {
    for (const name of ['tidemark_waiters', 'tidemark_waiting_loads'])
      expect([name, await metric(admin, name)]).toEqual([name, 0]);
  });
}

it('a load goes on for nobody: callers that leave are forgotten at once, and what it brings is kept', async () => {
  const { url, admin } = stack.sidecars[0]!;
  const callers = Array.from({ length: 50 }, () => {
    const caller = request(`${url}/v1/cache/page/left`, { agent: false });
    caller.on('error', () => undefined).end();
    return caller;
  });
  const answer = await requestFor('left');
  await eventually(async () => expect(await metric(admin, 'tidemark_waiters')).toBe(50));
  for (const caller of callers) caller.destroy();
  await nothingStays();
  answer.end('kept');
  await eventually(async () =>
    expect(await app.get('page', 'left', { 'cache-control': 'only-if-cached' })).toMatchObject({
      status: 200,
      body: 'kept',
    }),
  );
  expect(asked).toEqual([]);
});

it('a caller gets what the origin has although his namespace is changed meanwhile, and the new one has nothing of the old', async () => {
  const waiting = app.get('page', 'changed');
  const first = await requestFor('changed');
  await change((namespaces) => ({ ...namespaces, page: { ...page, ttl: { hard: '1h' } } }));
  // Nothing of it could be stored: it is read for him alone.
  const second = await requestFor('changed');
  first.end('old');
  second.end('new');
  expect(await waiting).toMatchObject({
    status: 200,
    body: 'new',
    cacheStatus: expect.stringContaining('fwd=bypass') as string,
  });
  await eventually(async () =>
    expect(await app.get('page', 'changed', { 'cache-control': 'only-if-cached' })).toMatchObject({ status: 404 }),
  );
  await nothingStays();
});

it('nor is he left alone where it is removed; whoever asks then is told that there is none', async () => {
  const waiting = app.get('page', 'removed');
  const first = await requestFor('removed');
  await change((namespaces) => ({ other: namespaces['other'] as object }));
  const second = await requestFor('removed');
  second.end('still there');
  expect(await waiting).toMatchObject({ status: 200, body: 'still there' });
  expect(await app.get('page', 'removed')).toMatchObject({
    status: 404,
    body: expect.stringContaining('unknown-namespace') as string,
  });
  first.end('too late');
  await nothingStays();
  expect(asked).toEqual([]);
});
