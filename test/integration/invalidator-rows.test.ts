import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createStack, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { type Change, changesAfter, Feed } from './support/feed.ts';
import { ruleFor as rule } from './support/followed.ts';
import { showLogsOnFailure } from './support/stack.ts';

// What pgoutput says of row changes under every replica identity, as the records then have it.

let stack: Stack;
let feed: Feed;

beforeAll(async () => {
  stack = await createStack(sharedServers(), {
    sidecars: 0,
    applier: false,
    redis: false,
    initSql: `
      create table by_pk (id int primary key, name text, note text);
      create table by_index (id int primary key, email text not null unique, team text);
      alter table by_index replica identity using index by_index_email_key;
      create table by_full (id int primary key, team text, body text);
      alter table by_full replica identity full;
      alter table by_full alter body set storage external;
      create table toasted (id int primary key, label text, body text);
      alter table toasted alter body set storage external;
      create table pair ("Odd {Name}" int, second timestamptz, primary key ("Odd {Name}", second));
    `,
    config: {
      namespaces: {
        pk: rule('by_pk', '{id}'),
        index: rule('by_index', '{email}'),
        full: rule('by_full', '{id}', '{team}', '{body}'),
        toasted: rule('toasted', '{id}'),
        pair: rule('pair', '{second}'),
      },
    },
  });
  feed = await Feed.open(stack);
});

afterAll(async () => {
  await feed?.stop();
  await stack?.stop();
});

beforeEach(() => showLogsOnFailure(stack));

/** The changes of the statements, without their commits. */
async function changes(sql: string): Promise<Omit<Change, 'commit'>[]> {
  return (await changesAfter({ stack, feed, sql })).map(({ commit: _commit, ...change }) => change);
}

describe('REPLICA IDENTITY DEFAULT', () => {
  it('says the new row of an insert, both of an update, the old key of a delete', async () => {
    expect(await changes(`insert into by_pk values (1, 'a')`)).toEqual([
      { table: 'public.by_pk', op: 'insert', after: { id: '1' } },
    ]);
    expect(await changes(`update by_pk set name = 'b' where id = 1`)).toEqual([
      { table: 'public.by_pk', op: 'update', before: { id: '1' }, after: { id: '1' } },
    ]);
    expect(await changes('delete from by_pk where id = 1')).toEqual([
      { table: 'public.by_pk', op: 'delete', before: { id: '1' } },
    ]);
  });

  it('says the old and the new key when the primary key changes', async () => {
    expect(await changes(`insert into by_pk values (10, 'a'); update by_pk set id = 11 where id = 10`)).toEqual([
      { table: 'public.by_pk', op: 'insert', after: { id: '10' } },
      { table: 'public.by_pk', op: 'update', before: { id: '10' }, after: { id: '11' } },
    ]);
  });

  it('keeps the changes of one transaction under its one commit, and none of a transaction that is rolled back', async () => {
    await stack.sql(`begin; insert into by_pk values (20, 'a'); rollback`);
    const found = await changesAfter({
      stack,
      feed,
      sql: `begin; insert into by_pk values (21, 'a'); savepoint s; insert into by_pk values (22); rollback to s; delete from by_pk where id = 21; commit`,
    });
    expect(found.map(({ op, commit: _commit, ...rest }) => [op, (rest.after ?? rest.before)?.['id']])).toEqual([
      ['insert', '21'],
      ['delete', '21'],
    ]);
    expect(new Set(found.map(({ commit }) => commit)).size).toBe(1);
  });

  it('announces a prepared transaction when it is committed', async () => {
    await stack.sql(`begin; insert into by_pk values (30); prepare transaction '${stack.slot}'`);
    expect(await changes('select 1')).toEqual([]);
    expect(await changes(`commit prepared '${stack.slot}'`)).toEqual([
      { table: 'public.by_pk', op: 'insert', after: { id: '30' } },
    ]);
  });

  it('says what INSERT ON CONFLICT and statements within a statement changed', async () => {
    const found = await changes(`
      insert into by_pk values (40) on conflict (id) do update set name = 'x';
      insert into by_pk values (40) on conflict (id) do update set name = 'y';
      insert into by_pk values (40) on conflict (id) do nothing;
      with gone as (delete from by_pk where id = 40 returning id) insert into by_pk select id + 1 from gone`);
    expect(found.map(({ op, before, after }) => [op, (after ?? before)?.['id']])).toEqual([
      ['insert', '40'],
      ['update', '40'],
      ['delete', '40'],
      ['insert', '41'],
    ]);
  });
});

describe('other replica identities', () => {
  it('INDEX: says the old value of the index', async () => {
    await changes(`insert into by_index values (1, 'a@x', 't')`);
    expect(await changes(`update by_index set team = 'u'`)).toEqual([
      { table: 'public.by_index', op: 'update', before: { email: 'a@x' }, after: { email: 'a@x' } },
    ]);
    expect(await changes(`update by_index set email = 'b@x'`)).toEqual([
      { table: 'public.by_index', op: 'update', before: { email: 'a@x' }, after: { email: 'b@x' } },
    ]);
    expect(await changes('delete from by_index')).toEqual([
      { table: 'public.by_index', op: 'delete', before: { email: 'b@x' } },
    ]);
  });

  it('FULL: says every old value, null and an unchanged TOAST value included', async () => {
    const body = 'x'.repeat(4000);
    await changes(`insert into by_full values (1, null, '${body}')`);
    expect(await changes(`update by_full set team = 'b'`)).toEqual([
      {
        table: 'public.by_full',
        op: 'update',
        before: { id: '1', team: null, body },
        after: { id: '1', team: 'b', body },
      },
    ]);
    expect(await changes(`delete from by_full`)).toEqual([
      { table: 'public.by_full', op: 'delete', before: { id: '1', team: 'b', body } },
    ]);
  });

  it('takes a value too long for any key as unknown, which invalidates coarser', async () => {
    expect(await changes(`insert into by_full values (2, 'c', repeat('y', 9000))`)).toEqual([
      { table: 'public.by_full', op: 'insert', after: { id: '2', team: 'c', body: undefined } },
    ]);
  });

  it('DEFAULT: an unchanged TOAST value of another column does not matter', async () => {
    await changes(`insert into toasted values (1, 'a', repeat('x', 100000))`);
    expect(await changes(`update toasted set label = 'b'`)).toEqual([
      { table: 'public.toasted', op: 'update', before: { id: '1' }, after: { id: '1' } },
    ]);
  });

  it('keeps microseconds, and names that need quotes', async () => {
    expect(await changes(`set timezone = 'UTC'; insert into pair values (1, '2026-01-02 03:04:05.678901+00')`)).toEqual(
      [{ table: 'public.pair', op: 'insert', after: { second: '2026-01-02 03:04:05.678901+00' } }],
    );
  });
});
