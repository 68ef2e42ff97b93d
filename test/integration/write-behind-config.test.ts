import { readFile, rename, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { createStack, type Stack } from '../kit/index.ts';
import { uniqueWord, withKafkaAdmin } from '../kit/names.ts';
import { sharedServers } from '../kit/shared.ts';
import { appsOf } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';
import { write } from './support/write.ts';

// Namespaces begin and cease to take writes that wait, while everything runs and follows the document in its topic.

const topic = `${uniqueWord()}.config`;
const plain = { source: 'main', invalidate: [{ table: 'public.items', keys: ['{id}'] }] };
const upsert = (name: string) => ({
  sql: `insert into items (id, name) values ($1, ${name}) on conflict (id) do update set name = excluded.name`,
  params: ['{key}', '{body}'],
});
const writable = { ...plain, writeBehind: { put: upsert('$2') } };

let stack: Stack;

beforeAll(async () => {
  const follows = { TIDEMARK_CONFIG: '', TIDEMARK_CONFIG_TOPIC: topic };
  stack = await createStack(sharedServers(), {
    flusher: true,
    redis: false,
    env: {
      invalidator: { TIDEMARK_CONFIG_TOPIC: topic },
      sidecar: { ...follows, TIDEMARK_MAX_STALENESS: '1m' },
      flusher: follows,
    },
    initSql: 'create table items (id text primary key, name text not null)',
    config: { namespaces: { items: plain } },
  });
  await cacheable(stack);
});

afterAll(async () => {
  await stack?.stop();
  await withKafkaAdmin(sharedServers().kafka.brokers, (admin) => admin.deleteTopics({ topics: [topic] }));
});

beforeEach(() => showLogsOnFailure(stack));

async function change(namespaces: Record<string, object>): Promise<void> {
  const document = parse(await readFile(stack.configFile, 'utf8')) as object;
  await writeFile(`${stack.configFile}.new`, stringify({ ...document, namespaces }));
  await rename(`${stack.configFile}.new`, stack.configFile);
}

const put = (namespace: string, key: string, body: string) =>
  write(stack.sidecars[0]?.url ?? '', [namespace, key], body);
const nameOf = async (key: string) =>
  (await stack.sql<{ name: string }>('select name from items where id = $1', [key]))[0]?.name;

it(
  '[I16] [I19] a document lets a namespace take writes, changes its statement, and ends that',
  { timeout: 300_000 },
  async () => {
    expect(await put('items', 'a', 'v1')).toMatchObject({ status: 404, problem: 'not-writable' });
    await change({ items: writable, more: writable });
    await eventually(async () => expect(await put('items', 'a', 'v1')).toMatchObject({ status: 202 }), {
      withinMs: 60_000,
    });
    await eventually(async () => expect(await put('more', 'b', 'v1')).toMatchObject({ status: 202 }), {
      withinMs: 60_000,
    });
    await eventually(async () => expect([await nameOf('a'), await nameOf('b')]).toEqual(['v1', 'v1']));

    stack.flusher.pause();
    expect((await put('more', 'b', 'v2')).status).toBe(202);
    const [app] = appsOf(stack);
    await change({ items: { ...writable, writeBehind: { put: upsert(`'new ' || $2`) } }, more: writable });
    // What waits in a namespace that goes on is known again, whatever happens to the others.
    await eventually(async () => expect((await put('items', 'a', 'v2')).status).toBe(202), { withinMs: 60_000 });
    await eventually(async () => expect(await app?.get('more', 'b')).toMatchObject({ body: 'v2' }), {
      withinMs: 60_000,
    });
    stack.flusher.resume();
    await eventually(async () =>
      expect([await nameOf('a'), await nameOf('b')]).toEqual([expect.stringMatching(/v2$/), 'v2']),
    );

    // What is written while not everybody has heard that it is over may be.
    expect(await stack.sql('select key from tidemark.parked_writes')).toEqual([]);
    await change({ items: plain });
    await eventually(
      async () => expect(await put('items', 'a', 'v3')).toMatchObject({ status: 404, problem: 'not-writable' }),
      {
        withinMs: 60_000,
      },
    );
  },
);
