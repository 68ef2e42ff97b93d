import { encodePendingWrite, parseConfig } from '@tidemark/proto';
import pg from 'pg';
import { beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest';
import { openFlushDatabase } from '../../invalidator/src/adapters/postgres-flush.ts';
import { runPipelined } from '../../invalidator/src/adapters/postgres-pipeline.ts';
import { planFlush, type WriteRecord } from '../../invalidator/src/core/flush/plan.ts';
import { Dice } from '../../sidecar/src/testing/random.ts';
import { showLogsOnFailure, useStack } from './support/stack.ts';

// What one transaction of the flusher makes of a batch in which some writes are bad, at once or only at the end of the transaction.

const config = {
  sources: { main: { topic: 'changes' } },
  namespaces: {
    items: {
      source: 'main',
      invalidate: [{ table: 'public.items', keys: ['{id}'] }],
      writeBehind: {
        put: {
          sql: 'insert into items (id, n) values ($1, $2::int) on conflict (id) do update set n = excluded.n',
          params: ['{key}', '{body}'],
        },
        delete: { sql: 'delete from items where id = $1' },
      },
    },
    commented: {
      source: 'main',
      invalidate: [{ table: 'public.items', keys: ['{id}'] }],
      writeBehind: {
        put: { sql: 'insert into items (id, n) values ($1, 1) -- was $2', params: ['{key}', '{body}'] },
      },
    },
  },
};
const parsed = parseConfig(config);
if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
const { config: document } = parsed;

const used = useStack({
  invalidator: false,
  applier: false,
  flusher: false,
  sidecars: 0,
  config: { namespaces: config.namespaces },
});

beforeEach(() => showLogsOnFailure(used.stack));
beforeAll(() =>
  used.stack.sql(`
    create table items (id text primary key, n int not null check (n <> 13));
    create function refuse() returns trigger language plpgsql as $$
      begin if new.n = 14 then raise check_violation; end if; return null; end $$;
    create constraint trigger late after insert or update on items deferrable initially deferred
      for each row execute function refuse()`),
);

const BAD = new Set(['13', '14', 'x']);

interface Write {
  readonly key: string;
  /** Undefined for a delete. */
  readonly body: string | undefined;
  readonly namespace?: string;
}

function record({ key, body, namespace = 'items' }: Write, offset: number): WriteRecord {
  const kind = body === undefined ? 'delete' : 'put';
  const rest = { namespace, contentType: '', tags: [], atMs: 0 };
  return { offset, value: encodePendingWrite({ ...rest, key, kind, body: new TextEncoder().encode(body ?? '') }) };
}

/** Flushes writes as one batch, write by write; answers the offsets of those that were parked. */
async function flushEach(writes: readonly Write[], topic: string): Promise<readonly number[]> {
  const connection = { connectionString: used.stack.postgres };
  const database = await openFlushDatabase({ connection, topic, runAll: runPipelined });
  onTestFinished(() => database.close());
  expect(await database.tryTurn()).toBe(true);
  const fromOffset = await database.progress();
  const plan = planFlush(writes.map(record), { document, source: 'main', coalesces: false });
  const work = { plan, fromOffset, nextOffset: writes.length, isolates: false, parksUnclear: false };
  const isBad = writes.some(({ body }) => BAD.has(body ?? ''));
  if (isBad) {
    // All together they fail as one, and nothing of them stays.
    await expect(database.flush(work)).rejects.toMatchObject({ code: expect.stringMatching(/^(23514|22P02)$/) });
    const again = await openFlushDatabase({ connection, topic, runAll: runPipelined });
    onTestFinished(() => again.close());
    expect(await again.progress()).toBe(fromOffset);
    const { parked } = await again.flush({ ...work, isolates: true });
    expect(await again.progress()).toBe(writes.length);
    return parked.map((each) => each.record.offset);
  }
  return (await database.flush(work)).parked.map((each) => each.record.offset);
}

it('[I19] runs every good write in its order and parks every bad one, whatever they are among', async () => {
  const dice = new Dice(19);
  const rows = new Map<string, number>();
  for (let batch = 0; batch < 30; batch++) {
    const badness = dice.fraction() ** 2;
    const writes = Array.from({ length: 1 + dice.below(60) }, () => ({
      key: dice.pick(['a', 'b', 'c', 'd', 'e']),
      body: dice.chance(badness) ? dice.pick([...BAD]) : dice.chance(0.2) ? undefined : String(100 + dice.below(1_000)),
    }));
    for (const { key, body } of writes) {
      if (body === undefined) rows.delete(key);
      else if (!BAD.has(body)) rows.set(key, Number(body));
    }
    const parked = await flushEach(writes, `random-${batch}`);
    expect(parked).toEqual(writes.flatMap(({ body }, i) => (BAD.has(body ?? '') ? [i] : [])));
    const found = await used.stack.sql<{ id: string; n: number }>('select id, n from items');
    expect(new Map(found.map(({ id, n }) => [id, n]))).toEqual(rows);
  }
  const [{ count } = { count: 0 }] = await used.stack.sql<{ count: number }>(
    "select count(*)::int from tidemark.parked_writes where topic like 'random-%'",
  );
  expect(count).toBeGreaterThan(100);
});

it('[I19] finds one bad write among thousands in a few dozen steps', async () => {
  const writes = Array.from({ length: 2_000 }, (_, i) => ({ key: `many-${i}`, body: i === 1_234 ? '13' : '1' }));
  const beganAtMs = performance.now();
  expect(await flushEach(writes, 'many')).toEqual([1_234]);
  process.stdout.write(`2,000 writes, one of them bad: ${Math.round(performance.now() - beganAtMs)} ms\n`);
  expect(await used.stack.sql("select count(*)::int from items where id like 'many-%'")).toEqual([{ count: 1_999 }]);
});

it('[I19] parks what is given another number of parameters than its statement has: no time will change that', async () => {
  const writes = ['items', 'commented', 'items'].map((namespace, i) => ({ namespace, key: `given-${i}`, body: '1' }));
  const connection = { connectionString: used.stack.postgres };
  const database = await openFlushDatabase({ connection, topic: 'given', runAll: runPipelined });
  onTestFinished(() => database.close());
  const plan = planFlush(writes.map(record), { document, source: 'main', coalesces: false });
  const fromOffset = await database.progress();
  const { parked } = await database.flush({ plan, fromOffset, nextOffset: 3, isolates: true, parksUnclear: false });
  expect(parked).toMatchObject([
    { record: { offset: 1 }, code: '08P01', why: expect.stringContaining('2 parameters') },
  ]);
  expect(await used.stack.sql("select id from items where id like 'given-%' order by id")).toEqual([
    { id: 'given-0' },
    { id: 'given-2' },
  ]);
});

it('sends statements without waiting for each, stops at the first that fails, and does not wait for a server that is silent', async () => {
  const client = new pg.Client({ connectionString: used.stack.postgres });
  client.on('error', () => undefined);
  await client.connect();
  onTestFinished(() => client.end().catch(() => undefined));
  const insert = (id: string, n: string) => ({
    sql: 'insert into items values ($1, $2::int) returning *',
    values: [id, n],
  });
  const within = { silenceMs: 20_000 };
  await client.query('begin');
  await runPipelined(client, [], within);
  await runPipelined(client, [insert('p1', '1'), { sql: 'select from items', values: [] }, insert('p2', '2')], within);
  await client.query('commit; begin');
  const failing = [insert('p3', '1'), insert('p4', 'x'), { sql: "select pg_notify('never', '')", values: [] }];
  await expect(runPipelined(client, failing, within)).rejects.toMatchObject({ code: '22P02' });
  await client.query('rollback');
  expect((await client.query("select id from items where id ~ '^p[0-9]$' order by id")).rows).toEqual([
    { id: 'p1' },
    { id: 'p2' },
  ]);
  const silent = runPipelined(client, [{ sql: 'select pg_sleep(600)', values: [] }], { silenceMs: 200 });
  await expect(silent).rejects.toThrow('Postgres did not answer for 200 ms');
  await expect(client.query('select')).rejects.toThrow('not queryable');
});
