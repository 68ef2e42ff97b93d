import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createStack, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { type Change, changesAfter, Feed } from './support/feed.ts';
import { eventually } from './support/eventually.ts';
import { ruleFor as rule } from './support/followed.ts';
import { showLogsOnFailure } from './support/stack.ts';

// TRUNCATE, partitions, and DDL while the stream runs.

let stack: Stack;
let feed: Feed;

beforeAll(async () => {
  stack = await createStack(sharedServers(), {
    sidecars: 0,
    applier: false,
    redis: false,
    initSql: `
      create table parent (id int primary key);
      create table child (id int primary key, parent int references parent);
      create table events (id int, day int, primary key (id, day)) partition by range (day);
      create table events_1 partition of events for values from (1) to (10);
      create table events_2 partition of events for values from (10) to (20) partition by list (day);
      create table events_2a (day int, id int not null, primary key (id, day));
      alter table events_2 attach partition events_2a default;
      create table base (id int primary key);
      create table derived (extra text, primary key (id)) inherits (base);
      create table shape (id int primary key, a text, b text);
      create table swapped (id int primary key);
      create table other (id int primary key);
    `,
    config: {
      namespaces: {
        parent: rule('parent', '{id}'),
        child: rule('child', '{id}'),
        events: rule('events', '{id}'),
        leaf: rule('events_1', '{id}'),
        base: rule('base', '{id}'),
        shape: rule('shape', '{id}'),
        swapped: rule('swapped', '{id}'),
      },
    },
  });
  feed = await Feed.open(stack);
});

afterAll(async () => {
  await feed?.stop();
  await stack?.stop();
});

const NAMESPACES = 7;

beforeEach(async () => {
  showLogsOnFailure(stack);
  await feed.claims(NAMESPACES);
});

async function changes(sql: string): Promise<Omit<Change, 'commit'>[]> {
  return (await changesAfter({ stack, feed, sql })).map(({ commit: _commit, ...change }) => change);
}

const all = (table: string) => ({ table: `public.${table}`, op: 'all' });
const inserted = (table: string, id: string) => ({ table: `public.${table}`, op: 'insert', after: { id } });

/** Namespaces that records purged from an index on. */
function purged(fromBatch: number): string[] {
  return feed.batches
    .slice(fromBatch)
    .flatMap(({ purges }) => purges.filter((purge) => purge.all).map(({ namespace }) => namespace));
}

/** How many namespaces the records from an index on claim. */
function coversSince(fromBatch: number): number[] {
  return feed.batches.slice(fromBatch).map(({ covers }) => covers.length);
}

describe('TRUNCATE', () => {
  it('is every row of the table, and of those that it cascades to', async () => {
    await changes('insert into parent values (1); insert into child values (1, 1)');
    expect(await changes('truncate child')).toEqual([all('child')]);
    const found = await changes('truncate parent cascade');
    expect(found).toHaveLength(2);
    expect(found).toEqual(expect.arrayContaining([all('child'), all('parent')]));
  });

  it('covers rows that changed before it in the same transaction', async () => {
    expect(
      await changes('begin; insert into child values (7); truncate child; insert into child values (8); commit'),
    ).toEqual([all('child')]);
  });

  it('of one partition is every row of its root', async () => {
    const found = await changes('truncate events_2a');
    expect(found).toEqual([all('events')]);
  });

  it('of a partitioned table is every row of it, and of its leaves that have rules', async () => {
    const found = await changes('truncate events');
    expect(found).toEqual(expect.arrayContaining([all('events'), all('events_1')]));
    expect(found).toHaveLength(2);
  });
});

describe('partitions', () => {
  it('are published under the name of their root, whatever the order of their columns', async () => {
    expect(await changes('insert into events (id, day) values (5, 15)')).toEqual([inserted('events', '5')]);
    expect(await changes('update events set id = 6 where id = 5')).toEqual([
      { table: 'public.events', op: 'update', before: { id: '5' }, after: { id: '6' } },
    ]);
    expect(await changes('delete from events')).toEqual([
      { table: 'public.events', op: 'delete', before: { id: '6' } },
    ]);
  });

  it('that have rules of their own are published under both names', async () => {
    const found = await changes('insert into events (id, day) values (7, 5)');
    expect(found).toHaveLength(2);
    expect(found).toEqual(expect.arrayContaining([inserted('events', '7'), inserted('events_1', '7')]));
  });

  it('say both ends of a row that moves between them', async () => {
    await changes('insert into events (id, day) values (8, 11)');
    const found = await changes('update events set day = 2 where id = 8');
    expect(found).toEqual(
      expect.arrayContaining([{ table: 'public.events', op: 'delete', before: { id: '8' } }, inserted('events', '8')]),
    );
  });

  it('purge the namespaces of their root when they are attached, detached or dropped', async () => {
    for (const sql of [
      'create table events_3 partition of events for values from (20) to (30)',
      'alter table events detach partition events_3',
      'alter table events attach partition events_3 for values from (20) to (30)',
      'drop table events_3',
    ]) {
      const before = feed.batches.length;
      await stack.sql(sql);
      await eventually(() => expect(purged(before)).toContain('events'));
      expect(purged(before)).not.toContain('parent');
    }
  });

  it('flush their root when they are gone by the time their rows are read', async () => {
    const found = await changes(`
      create table events_4 partition of events for values from (30) to (40);
      insert into events (id, day) values (9, 35);
      drop table events_4`);
    // Nobody can say any more whose partition it was.
    expect(found).toEqual(expect.arrayContaining([all('events'), all('base')]));
  });

  it('by inheritance count as rows of their parent', async () => {
    expect(await changes(`insert into derived (id, extra) values (3, 'x')`)).toEqual([inserted('base', '3')]);
  });
});

describe('DDL', () => {
  it('follows columns that are added, renamed and dropped', async () => {
    await changes('insert into shape values (1)');
    expect(await changes(`alter table shape add column c text default 'x'; insert into shape values (2)`)).toEqual([
      inserted('shape', '2'),
    ]);
    expect(await changes('alter table shape drop column a; insert into shape (id) values (3)')).toEqual([
      inserted('shape', '3'),
    ]);
    expect(await changes('alter table shape rename column b to z; update shape set id = 4 where id = 3')).toEqual([
      { table: 'public.shape', op: 'update', before: { id: '3' }, after: { id: '4' } },
    ]);
  });

  it('makes a column of a rule that is gone unknown, and stops claiming the namespace', async () => {
    const found = await changes('alter table shape rename column id to key; insert into shape (key) values (5)');
    expect(found).toEqual([{ table: 'public.shape', op: 'insert', after: { id: undefined } }]);
    await feed.claims(NAMESPACES - 1);
    await stack.sql('alter table shape rename column key to id');
    await feed.claims(NAMESPACES);
    expect(await changes('insert into shape (id) values (6)')).toEqual([inserted('shape', '6')]);
  });

  it('of a table that is replaced under its name purges, and publishes the new one', async () => {
    const before = feed.batches.length;
    await stack.sql('begin; alter table swapped rename to swapped_old; alter table other rename to swapped; commit');
    await eventually(() => expect(purged(before)).toContain('swapped'));
    await eventually(() => expect(coversSince(before)).toContain(NAMESPACES - 1));
    await feed.claims(NAMESPACES);
    expect(await changes('insert into swapped values (9)')).toEqual([inserted('swapped', '9')]);
  });

  it('[I8] notices a table that leaves the publication, and brings it back', async () => {
    const before = feed.batches.length;
    await stack.sql(`alter publication ${stack.publication} drop table parent`);
    await eventually(() => expect(coversSince(before)).toContain(NAMESPACES - 1));
    await feed.claims(NAMESPACES);
    expect(await changes('insert into parent values (77)')).toEqual([inserted('parent', '77')]);
  });

  it('[I8] notices that the publication is gone, and makes it again', async () => {
    const before = feed.batches.length;
    await stack.sql(`drop publication ${stack.publication}`);
    await eventually(() => expect(coversSince(before)).toContain(0));
    await feed.claims(NAMESPACES);
    expect(await changes('insert into parent values (79)')).toEqual([inserted('parent', '79')]);
  });

  it('[I8] does not claim a table again before every transaction has ended that may have changed it unseen', async () => {
    const open = new pg.Client({ connectionString: stack.postgres });
    await open.connect();
    try {
      // Open before: the table is back in the publication a moment after it has left.
      await open.query('begin; insert into parent values (78)');
      await stack.sql(`alter publication ${stack.publication} drop table parent`);
      await feed.claims(NAMESPACES - 1);
      const { length } = feed.batches;
      await eventually(() => expect(feed.batches.length).toBeGreaterThan(length + 2));
      expect(feed.last.covers).toHaveLength(NAMESPACES - 1);
      await open.query('commit');
      await feed.claims(NAMESPACES);
    } finally {
      await open.end();
    }
  });
});
