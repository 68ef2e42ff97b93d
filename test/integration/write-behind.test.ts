import { beforeEach, describe, expect, it } from 'vitest';
import type { App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { showLogsOnFailure, useStack } from './support/stack.ts';
import { metric, write } from './support/write.ts';

// Writes that are acknowledged by Kafka and reach Postgres later, over two sidecars and a flusher.

const used = useStack({
  sidecars: 2,
  initSql: `
    create table items (id text primary key, name text not null check (name <> 'poison'), writes int not null default 1, at_offset bigint);
    insert into items (id, name) select 'old-' || n, 'v0' from generate_series(1, 50) n`,
  config: {
    namespaces: {
      items: {
        source: 'main',
        invalidate: [{ table: 'public.items', keys: ['{id}'] }],
        writeBehind: {
          put: {
            sql: `insert into items (id, name, at_offset) values ($1, $2, $3)
                  on conflict (id) do update set name = excluded.name, at_offset = excluded.at_offset, writes = items.writes + 1`,
            params: ['{key}', '{body}', '{offset}'],
          },
          delete: { sql: 'delete from items where id = $1' },
        },
      },
    },
  },
  env: { flusher: { TIDEMARK_FLUSH_INTERVAL: '300ms' }, sidecar: { TIDEMARK_MAX_STALENESS: '1m' } },
});
const onlyIfCached = { 'cache-control': 'only-if-cached' };
const pending = 'tidemark; hit; detail=pending';

beforeEach(() => showLogsOnFailure(used.stack));

/** Runs something while nothing is flushed. */
async function unflushed<T>(work: () => Promise<T>): Promise<T> {
  used.stack.flusher.pause();
  try {
    return await work();
  } finally {
    used.stack.flusher.resume();
  }
}

const put = (sidecar: number, key: string, body?: string) =>
  write(used.stack.sidecars[sidecar]?.url ?? '', ['items', key], body);
const rowOf = async (key: string) =>
  (await used.stack.sql<{ name: string; writes: number }>('select name, writes from items where id = $1', [key]))[0];

describe('a write that Kafka has', () => {
  it('[I19] is read at once, everywhere soon, and is in Postgres in the end', async () => {
    const [here, there] = used.apps as [App, App];
    await unflushed(async () => {
      expect(await put(0, 'one', 'v1')).toMatchObject({ status: 202, problem: '' });
      const seen = { status: 200, body: 'v1', cacheStatus: pending, lsn: undefined };
      expect(await here.get('items', 'one')).toMatchObject(seen);
      await eventually(async () => expect(await there.get('items', 'one', onlyIfCached)).toMatchObject(seen));
      expect(await rowOf('one')).toBeUndefined();
    });
    await eventually(async () => expect(await rowOf('one')).toEqual({ name: 'v1', writes: 1 }));
    // From then on it is loaded like anything else.
    for (const app of [here, there])
      await eventually(async () => expect((await app.get('items', 'one')).cacheStatus).not.toContain('pending'));
    expect(await here.read('items', 'one', async () => (await rowOf('one'))?.name ?? '')).toBe('v1');
  });

  it('[I19] hides what is cached, and a delete is an absence', async () => {
    const [here, there] = used.apps as [App, App];
    const name = async () => (await rowOf('old-1'))?.name ?? 'none';
    for (const app of [here, there])
      await eventually(async () => {
        await app.read('items', 'old-1', name);
        expect(await app.get('items', 'old-1', onlyIfCached)).toMatchObject({
          body: 'v0',
          cacheStatus: expect.stringContaining('detail=l1'),
        });
      });
    await unflushed(async () => {
      await put(0, 'old-1', 'v1');
      expect((await here.get('items', 'old-1')).body).toBe('v1');
      await put(1, 'old-1');
      expect(await there.get('items', 'old-1')).toMatchObject({ status: 404, body: '', cacheStatus: pending });
    });
    await eventually(async () => expect(await rowOf('old-1')).toBeUndefined());
    await eventually(async () =>
      expect((await here.get('items', 'old-1', onlyIfCached)).cacheStatus).toBe('tidemark; fwd=miss'),
    );
  });

  it('[I19] is no answer for who asks for coherence', async () => {
    const [here] = used.apps as [App];
    await unflushed(async () => {
      await put(0, 'session', 'v1');
      const answer = await here.get('items', 'session', { 'tidemark-session': 'new' });
      const refused = { status: 404, cacheStatus: 'tidemark; fwd=bypass; detail=pending', lsn: undefined };
      expect(answer).toMatchObject(refused);
    });
  });
});

describe('the flusher', () => {
  it('[I19] runs one statement for many writes of a key', async () => {
    const before = await metric(used.stack.flusher.url, 'tidemark_flusher_statements_total');
    // While it is paused, or a slow machine would give it ever more batches.
    const answers = await unflushed(() =>
      Promise.all(Array.from({ length: 500 }, (_, n) => put(n % 2, `hot-${n % 5}`, `v${n}`))),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]));
    await eventually(async () =>
      expect(await metric(used.stack.flusher.url, 'tidemark_flusher_oldest_seconds')).toBe(0),
    );
    await eventually(async () =>
      expect(await metric(used.stack.sidecars[0]?.admin ?? '', 'tidemark_write_behind_pending')).toBe(0),
    );
    const statements = (await metric(used.stack.flusher.url, 'tidemark_flusher_statements_total')) - before;
    process.stdout.write(`500 writes of 5 keys: ${statements} statements\n`);
    expect(statements).toBeLessThan(100);
  });

  it('[I19] parks what Postgres refuses, goes on with the rest, and tries again what a person says', async () => {
    const { sql } = used.stack;
    for (const [key, body] of [
      ['p1', 'good'],
      ['p2', 'poison'],
      ['p3', 'good'],
      ['p4', 'first'],
      ['p4', 'poison'],
    ] as const)
      expect((await put(0, key, body)).status).toBe(202);
    await eventually(async () => expect(await rowOf('p3')).toMatchObject({ name: 'good' }));
    expect(await rowOf('p1')).toMatchObject({ name: 'good' });
    // What was written before it is not lost with it.
    await eventually(async () => expect(await rowOf('p4')).toMatchObject({ name: 'first' }));
    await eventually(async () =>
      expect(
        await sql("select key, code, convert_from(record, 'UTF8') as record from tidemark.parked_writes order by id"),
      ).toMatchObject([
        { key: 'p2', code: '23514', record: expect.stringMatching(/"namespace":"items".*\npoison$/) },
        { key: 'p4', code: '23514' },
      ]),
    );
    await eventually(async () => expect(await metric(used.stack.flusher.url, 'tidemark_flusher_parked_total')).toBe(2));
    await eventually(async () =>
      expect((await used.apps[0]?.get('items', 'p2', onlyIfCached))?.cacheStatus).toBe('tidemark; fwd=miss'),
    );
    await sql('alter table items drop constraint items_name_check');
    await sql("update tidemark.parked_writes set retry = true where key = 'p2'");
    await eventually(async () => expect(await rowOf('p2')).toMatchObject({ name: 'poison' }));
    expect(await sql('select key from tidemark.parked_writes')).toEqual([{ key: 'p4' }]);
  });
});
