import { readFile, rename, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { readTableChanges, type Batch } from '@tidemark/proto';
import pg from 'pg';
import { createKafka, createLogger, publishConfig } from '@tidemark/runtime';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { parse, stringify } from 'yaml';
import { createStack, type Stack } from '../kit/index.ts';
import { deleteTopic, uniqueWord } from '../kit/names.ts';
import { sharedServers } from '../kit/shared.ts';
import { eventually } from './support/eventually.ts';
import { Feed } from './support/feed.ts';
import { PublishedConfigs } from './support/published.ts';
import { compiled, hashOf, rules, type Namespaces } from './support/rules.ts';
import { showLogsOnFailure } from './support/stack.ts';

// The document changes while `run` runs: its rules reach the stream, and the document reaches the configuration topic.

const users = rules({ table: 'public.users', keys: ['{id}'] });
const orders = rules({ table: 'public.orders', tags: ['of:{user_id}'] });
const byTeam = rules({ table: 'public.users', keys: ['{id}'], tags: ['team:{team}'] });

let stack: Stack;
let feed: Feed;
let configs: PublishedConfigs;
const topic = `${uniqueWord()}.config`;

beforeAll(async () => {
  stack = await createStack(sharedServers(), {
    sidecars: 0,
    applier: false,
    redis: false,
    env: { invalidator: { TIDEMARK_CONFIG_TOPIC: topic } },
    initSql: `
      create table users (id int primary key, team text, n int default 0);
      create table orders (id int primary key, user_id int);
      create table noise (id int primary key, n int);
      alter table users replica identity full;
      alter table orders replica identity full;
      insert into users select i, 'a' from generate_series(1, 20) i;
    `,
    config: { namespaces: { users } },
  });
  feed = await Feed.open(stack);
  configs = new PublishedConfigs({ brokers: stack.brokers, topic });
});

afterAll(async () => {
  await configs?.stop();
  await feed?.stop();
  await stack?.stop();
  await deleteTopic(sharedServers(), topic);
});

beforeEach(() => showLogsOnFailure(stack));

/** Another document, put in place of the one before as kubelet does it: at once. */
async function write(text: string): Promise<void> {
  await writeFile(`${stack.configFile}.new`, text);
  await rename(`${stack.configFile}.new`, stack.configFile);
}

async function change(namespaces: Namespaces): Promise<void> {
  const document = parse(await readFile(stack.configFile, 'utf8')) as object;
  await write(stringify({ ...document, namespaces }));
}

async function published(namespaces: Namespaces): Promise<void> {
  await eventually(() => expect(configs.last.document).toHaveProperty('namespaces', namespaces));
}

const covered = (...namespaces: readonly [string, Namespaces[string]][]) =>
  eventually(() => {
    for (const [name, namespace] of namespaces) expect(feed.last.covers).toContain(hashOf(name, namespace));
  });

const said = (words: string) => eventually(() => expect(stack.logs('invalidator').join('\n')).toContain(words));

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${stack.invalidator.url}/metrics`)).text();
  return Number(new RegExp(`^tidemark_invalidator_${name} (\\S+)$`, 'm').exec(text)?.[1]);
}

/** Changes a row of `users` all the time, one after the other; `stop` answers how often. */
function writeRows(everyMs: number): { stop: () => Promise<number> } {
  const stop = new AbortController();
  const work = (async () => {
    let count = 0;
    while (!stop.signal.aborted) {
      count += 1;
      await stack.sql('update users set n = $1 where id = 1', [count]);
      await sleep(everyMs);
    }
    return count;
  })();
  return {
    stop: () => {
      stop.abort();
      return work;
    },
  };
}

/** A transaction that has written and stays open until `commit`. */
async function openTransaction(sql: string): Promise<{ commit: () => Promise<void> }> {
  const client = new pg.Client({ connectionString: stack.postgres });
  await client.connect();
  onTestFinished(() => client.end());
  await client.query(`begin; ${sql}`);
  return { commit: async () => void (await client.query('commit')) };
}

/** The longest time without a record, ms, by the clock of the publisher. */
function longestPauseMs(batches: readonly Batch[]): number {
  return Math.max(...batches.slice(1).map((batch, i) => (batch.publishedAtUs - batches[i]!.publishedAtUs) / 1000));
}

describe('the document', () => {
  it('is published with its source at the start', async () => {
    await published({ users });
    expect(configs.last).toMatchObject({ source: 'main', document: { sources: { main: { topic: stack.topic } } } });
  });

  it('[I8] changes while rows change: what follows is claimed before it is published, and no record is missing', async () => {
    const first = feed.batches.length;
    const rows = writeRows(2);
    const next = { users: byTeam, orders };
    await change(next);
    await published(next);
    // What was written before may be read after it: another reader has heard of the document.
    const heardAtUs = Date.now() * 1000;
    await covered(['users', byTeam], ['orders', orders]);
    const count = await rows.stop();
    await feed.catchesUp(stack);
    const batches = feed.batches.slice(first);
    // Caches that have not heard of it yet go on, those that have are served at once.
    for (const { covers } of batches) expect(covers).toContain(hashOf('users', users));
    for (const { covers } of batches.filter(({ publishedAtUs }) => publishedAtUs > heardAtUs))
      expect(covers).toContain(hashOf('users', byTeam));
    const told = feed.changes(first).flatMap(({ table, after }) => (table === 'public.users' ? [after] : []));
    expect(told).toHaveLength(count);
    expect(told.at(-1)).toEqual({ id: '1', team: 'a' });
    expect(feed.epochs).toHaveLength(1);
  });

  it('does not hold the stream up when it changes', async () => {
    const pausesMs: number[] = [];
    // The shortest of some: whatever else the machine does makes them longer.
    while (pausesMs.length < 6 && !pausesMs.some((ms) => ms < 3000)) {
      const first = feed.batches.length;
      const next = { users: byTeam, ...(pausesMs.length % 2 === 0 ? {} : { orders }) };
      await change(next);
      await published(next);
      await feed.catchesUp(stack);
      pausesMs.push(longestPauseMs(feed.batches.slice(first - 1)));
    }
    process.stderr.write(`the stream paused for ${pausesMs.map(Math.round).join(', ')} ms\n`);
    // Some 0.2 s on a machine that has nothing else to do; without news there is a record a second, and sidecars bear five.
    expect(Math.min(...pausesMs)).toBeLessThan(3000);
    await change({ users: byTeam, orders });
    await published({ users: byTeam, orders });
  });

  it('that is not valid changes nothing, and says so', async () => {
    const before = configs.records.length;
    const text = await readFile(stack.configFile, 'utf8');
    await change({ users: byTeam, broken: rules({ table: 'nowhere', keys: ['{id}'] }) });
    await eventually(async () => expect(await metric('config_file_valid')).toBe(0));
    await eventually(async () => expect((await fetch(`${stack.invalidator.url}/readyz`)).status).toBe(200));
    await said('namespaces.broken.invalidate.0.table: found');
    expect(await (await fetch(`${stack.invalidator.url}/v1/config`)).json()).toMatchObject({
      complaint: expect.stringContaining('namespaces.broken') as string,
      document: { namespaces: { orders } },
    });
    await write(text);
    await eventually(async () => expect(await metric('config_file_valid')).toBe(1));
    expect(configs.records).toHaveLength(before);
  });

  it('keeps the settings of its source until a restart, and takes its namespaces', async () => {
    const text = await readFile(stack.configFile, 'utf8');
    const document = parse(text) as { sources: { main: object }; namespaces: Namespaces };
    const namespaces = { users: byTeam };
    const sources = { main: { ...document.sources.main, l2: { buckets: 7 } } };
    await write(stringify({ sources, namespaces }));
    await published(namespaces);
    expect(configs.last.document).toMatchObject({ sources: document.sources });
    await said('sources.main is another one than at the start');
    await write(text);
    await published({ users: byTeam, orders });
  });

  it('with a table that is not there serves the others, and that one as soon as it is', async () => {
    const late = rules({ table: 'public.late', keys: ['{id}'] });
    await change({ users: byTeam, late });
    await published({ users: byTeam, late });
    await covered(['users', byTeam]);
    expect(feed.last.covers).not.toContain(hashOf('late', late));
    await stack.sql('create table late (id int primary key)');
    await covered(['late', late]);
  });

  it('with a table that nobody may publish does not end the stream', async () => {
    const never = rules({ table: 'pg_catalog.pg_class', keys: ['{oid}'] });
    await change({ users: byTeam, never, orders });
    await published({ users: byTeam, never, orders });
    await covered(['users', byTeam], ['orders', orders]);
    await change({ users: byTeam, orders });
    await published({ users: byTeam, orders });
  });
});

it('[I8] a table that joins is not claimed before older transactions have ended, whatever its rules become meanwhile; others do not wait', async () => {
  await stack.sql('create table joined (id int primary key, v int); insert into joined values (1, 1)');
  const [one, two] = [
    rules({ table: 'public.joined', keys: ['{id}'] }),
    rules({ table: 'public.joined', tags: ['t:{id}'] }),
  ];
  const other = rules({ table: 'public.users', keys: ['other:{id}'] });
  const { commit } = await openTransaction('update joined set v = v + 1');
  const first = feed.batches.length;
  await change({ users: byTeam, joined: one });
  await covered(['users', byTeam]);
  await said('ADD TABLE public.joined');
  await change({ users: byTeam, joined: two, other });
  await covered(['users', byTeam], ['other', other]);
  // It waits for what could be served soon, and not for longer.
  await published({ users: byTeam, joined: two, other });
  for (const { covers } of feed.batches.slice(first))
    for (const hash of [hashOf('joined', one), hashOf('joined', two)]) expect(covers).not.toContain(hash);
  await commit();
  await covered(['joined', two]);
  await change({ users: byTeam, orders });
  await published({ users: byTeam, orders });
});

describe('the configuration topic', () => {
  const logger = createLogger({ service: 'test', instance: 'former', level: 'silent' });
  const kafka = () => createKafka({ brokers: stack.brokers, tls: false, clientId: 'test-former', logger });

  it('what a leader writes that was replaced is buried', async () => {
    const { term, revision, document } = configs.last;
    const other = { ...(document as object), namespaces: {} };
    await publishConfig(kafka(), { topic, term, revision: revision - 1, document: other });
    await eventually(() => {
      expect(configs.last).toMatchObject({ term, document });
      expect(configs.last.revision).toBeGreaterThan(revision);
    });
  });

  it('that was deleted is made anew', async () => {
    const { document } = configs.last;
    await deleteTopic(sharedServers(), topic);
    const again = new PublishedConfigs({ brokers: stack.brokers, topic });
    onTestFinished(() => again.stop());
    await eventually(() => expect(again.last).toMatchObject({ document }), { withinMs: 120_000 });
  });
});

it('[I8] rules that change again and again: whatever is claimed is told with every column that its rules need', async () => {
  const variants = [users, byTeam, rules({ table: 'public.users', tags: ['n:{n}'] }), orders];
  const needs = new Map<bigint, ReadonlySet<string>>();
  for (const [name, namespace] of [
    ...variants.map((variant) => ['users', variant] as const),
    ...variants.map((variant) => ['other', variant] as const),
  ]) {
    const { columns } = compiled(name, namespace);
    needs.set(hashOf(name, namespace), new Set(columns.get('public.users') ?? []));
  }
  const first = feed.batches.length;
  const rows = writeRows(1);
  for (let i = 0; i < 20; i++) {
    const next = { users: variants[i % 3]!, ...(i % 2 === 0 && { other: variants[(i + 1) % 4]! }) };
    await change(next);
    // Some are overtaken by the next one before they are served.
    if (i % 3 === 0) await eventually(() => expect(configs.last.document).toHaveProperty('namespaces', next));
    else await sleep(300);
  }
  await eventually(() => expect(configs.last.document).toHaveProperty('namespaces', { users: variants[1] }));
  const count = await rows.stop();
  await feed.catchesUp(stack);
  let claims = 0;
  for (const { tables, covers } of feed.batches.slice(first)) {
    for (const block of tables.filter(({ table }) => table === 'users')) {
      const { columns, forEach } = readTableChanges(block.changes);
      let rowsTold = 0;
      forEach(() => (rowsTold += 1));
      for (const hash of covers) {
        claims += rowsTold;
        for (const column of needs.get(hash) ?? []) expect(columns).toContain(column);
      }
    }
  }
  expect(claims).toBeGreaterThan(count / 2);
  const told = feed.changes(first).filter(({ table }) => table === 'public.users');
  expect(told).toHaveLength(count);
  expect(feed.epochs).toHaveLength(1);
}, 400_000);
