import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { noiseOf, textOf } from '../contract/l2-store/world.ts';
import { eventually } from './support/eventually.ts';
import { metric } from './support/l2.ts';
import { useStack } from './support/stack.ts';

// Large values and large batches from one sidecar to another, by HTTP, and that no piece of them stays behind when rows change.

const used = useStack({
  sidecars: 2,
  initSql: `
    create table docs (id int primary key, body text);
    insert into docs select n, 'text' from generate_series(1, 200) n;
  `,
  config: {
    namespaces: {
      docs: {
        source: 'main',
        maxItemBytes: '4MiB',
        l2: { chunk: '64KiB' },
        invalidate: [{ table: 'public.docs', keys: ['{id}'] }],
      },
    },
  },
  // So long that a busy machine does not matter beside it.
  env: { sidecar: { TIDEMARK_REDIS_DEADLINE: '10s', TIDEMARK_MAX_STALENESS: '60s' } },
});
let redis: Redis;
beforeAll(() => {
  redis = new Redis(used.stack.redis, { protocol: 2 });
});
afterAll(() => redis.disconnect());

const urlOf = (sidecar: 0 | 1, id: number): string => `${used.stack.sidecars[sidecar]!.url}/v1/cache/docs/${id}`;

/** Stores a value by way of the first sidecar, with a lease. */
async function store(id: number, body: Buffer): Promise<void> {
  const miss = await fetch(urlOf(0, id));
  const headers = { 'tidemark-lease': miss.headers.get('tidemark-lease') ?? '', 'content-type': 'application/json' };
  const response = await fetch(urlOf(0, id), { method: 'PUT', headers, body: new Uint8Array(body) });
  expect(response.status).toBe(201);
}

async function chunks(): Promise<number> {
  return (await redis.keys('tidemark1:*:V:*')).length;
}

it.each([
  ['text', textOf(1_500_000), 0],
  ['noise', noiseOf(1_500_000), Math.ceil(1_500_000 / 65_536)],
])('[I7] %s of 1.5 MB is shared, and nothing of it is left when its row changes', async (name, body, pieces) => {
  const id = name === 'text' ? 1 : 2;
  await store(id, body);
  await eventually(async () => {
    const found = await fetch(urlOf(1, id), { headers: { 'cache-control': 'only-if-cached' } });
    expect(found.headers.get('cache-status')).toContain('detail=l2');
    expect(Buffer.compare(Buffer.from(await found.arrayBuffer()), body)).toBe(0);
  });
  expect(await chunks()).toBe(pieces);
  await used.stack.sql(`update docs set body = 'new' where id = ${id}`);
  await eventually(async () => {
    for (const sidecar of [0, 1] as const) {
      const found = await fetch(urlOf(sidecar, id), { headers: { 'cache-control': 'only-if-cached' } });
      expect(found.status).not.toBe(200);
      await found.arrayBuffer();
    }
    expect(await chunks()).toBe(0);
  });
  const { admin } = used.stack.sidecars[0]!;
  const [before, after] = await Promise.all(
    ['value', 'stored'].map((form) => metric(admin, `tidemark_l2_value_bytes_total{form="${form}"}`)),
  );
  expect(before! - after!).toBeGreaterThan(1_400_000);
});

interface Reply {
  readonly get?: { readonly docs: readonly { status: number; text?: string; lease?: string }[] };
  readonly put?: readonly { status: number }[];
}

async function batch(sidecar: 0 | 1, body: object): Promise<Reply> {
  const response = await fetch(`${used.stack.sidecars[sidecar]!.url}/v1/batch`, {
    method: 'POST',
    body: JSON.stringify(body),
  });
  expect(response.status).toBe(200);
  return (await response.json()) as Reply;
}

it('a batch of a hundred keys is one command to Redis, or two where some have tags', async () => {
  const keys = Array.from({ length: 100 }, (_, i) => String(i + 101));
  const missed = await batch(0, { get: { docs: keys } });
  const put = missed.get!.docs.map(({ lease }, i) => ({
    ...{ namespace: 'docs', key: keys[i], lease, text: `value ${i}` },
    ...(i % 10 === 0 && { tags: [`t${i}`] }),
  }));
  expect(new Set((await batch(0, { put })).put?.map(({ status }) => status))).toEqual(new Set([201]));
  await eventually(async () => {
    expect(await metric(used.stack.sidecars[0]!.admin, 'tidemark_l2_fills_total{result="ok"}')).toBeGreaterThanOrEqual(
      100,
    );
  });
  const { admin } = used.stack.sidecars[1]!;
  const names = [
    'tidemark_l2_reads_total',
    ...['read', 'read-tagged'].map((one) => `tidemark_l2_commands_total{command="${one}"}`),
  ];
  const before = await Promise.all(names.map((name) => metric(admin, name)));
  const found = await batch(1, { get: { docs: keys } });
  expect(found.get!.docs.map(({ text }) => text)).toEqual(keys.map((_, i) => `value ${i}`));
  const after = await Promise.all(names.map((name) => metric(admin, name)));
  expect(after.map((count, i) => count - before[i]!)).toEqual([100, 1, 1]);
});
