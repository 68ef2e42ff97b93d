import kafkajs from 'kafkajs';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createStack, type Stack } from '../kit/index.ts';
import { createTopic, withKafkaAdmin } from '../kit/names.ts';
import { sharedServers } from '../kit/shared.ts';
import { eventually } from './support/eventually.ts';
import { Feed } from './support/feed.ts';
import { anotherInvalidator } from './support/invalidator.ts';
import { showLogsOnFailure } from './support/stack.ts';

// What the invalidator makes, what it refuses, and what it says about it.

let stack: Stack;

beforeAll(async () => {
  stack = await createStack(sharedServers(), {
    sidecars: 0,
    applier: false,
    redis: false,
    prepareOnly: true,
    initSql: `
      create table good (id int primary key, team text);
      create table bare (id int, v int);
      insert into bare values (1, 1);
    `,
    config: {
      namespaces: {
        good: { source: 'main', invalidate: [{ table: 'public.good', keys: ['{id}'] }] },
        team: { source: 'main', invalidate: [{ table: 'public.good', keys: ['{team}'] }] },
        bare: { source: 'main', invalidate: [{ table: 'public.bare', keys: ['{id}'] }] },
      },
    },
  });
});

afterAll(() => stack?.stop());

beforeEach(() => showLogsOnFailure(stack));

/** A login role of this test; answers the URL of the stack's database under it. */
async function role(name: string, attributes: string): Promise<string> {
  const user = `${stack.slot}_${name}`;
  await stack.sql(`create role ${user} login password 'secret' ${attributes}`);
  onTestFinished(async () => {
    await stack.sql(`drop owned by ${user}; drop role ${user}`);
  });
  const url = new URL(stack.postgres);
  [url.username, url.password] = [user, 'secret'];
  return url.href;
}

/** Starts an invalidator that must give up; answers its last words. */
async function refusal(env: Readonly<Record<string, string>>): Promise<string> {
  const handle = await anotherInvalidator(stack, { name: 'refused', env });
  await expect(handle.start()).rejects.toThrow('exit code 1');
  return handle.logs().join('\n');
}

describe('what a person has to mend', () => {
  it('a role that may not replicate', async () => {
    const url = await role('plain', '');
    expect(await refusal({ TIDEMARK_POSTGRES_URL: url })).toContain(`ALTER ROLE ${stack.slot}_plain REPLICATION;`);
  });

  it('a role that may not make the publication', async () => {
    const url = await role('replicator', 'replication');
    const words = await refusal({ TIDEMARK_POSTGRES_URL: url });
    expect(words).toContain(
      `CREATE PUBLICATION ${stack.publication} FOR TABLE public.good WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = false);`,
    );
  });

  it('a slot that is of another kind', async () => {
    const slot = `${stack.slot}_physical`;
    await stack.sql('select pg_create_physical_replication_slot($1)', [slot]);
    onTestFinished(async () => {
      await stack.sql('select pg_drop_replication_slot($1)', [slot]);
    });
    const words = await refusal({ TIDEMARK_SLOT: slot });
    expect(words).toContain('a physical slot');
    expect(words).toContain(`SELECT pg_drop_replication_slot('${slot}');`);
  });

  it.each([
    ['has several partitions', { numPartitions: 2 }, 'has 2 partitions, expected 1'],
    [
      'is compacted',
      { configEntries: [{ name: 'cleanup.policy', value: 'compact' }] },
      'has cleanup.policy = compact, expected delete',
    ],
  ])('a topic that %s', async (_what, settings, words) => {
    await withKafkaAdmin(stack.brokers, async (admin) => {
      await admin.deleteTopics({ topics: [stack.topic] });
      await eventually(async () => expect(await admin.listTopics()).not.toContain(stack.topic));
      await admin.createTopics({
        waitForLeaders: false,
        topics: [{ topic: stack.topic, replicationFactor: 1, ...settings }],
      });
      await eventually(async () => expect(await admin.listTopics()).toContain(stack.topic));
    });
    onTestFinished(async () => {
      await withKafkaAdmin(stack.brokers, async (admin) => {
        await admin.deleteTopics({ topics: [stack.topic] });
        await eventually(async () => expect(await admin.listTopics()).not.toContain(stack.topic));
      });
      await createTopic(stack.servers, stack.topic, {});
    });
    expect(await refusal({})).toContain(words);
  });

  it('a setting that does not exist, a value that cannot be used', async () => {
    const words = await refusal({ TIDEMARK_SLOTT: 'x', TIDEMARK_SLOT: 'Not A Slot' });
    expect(words).toContain('TIDEMARK_SLOTT: there is no such setting, did you mean TIDEMARK_SLOT?');
    expect(words).toContain('TIDEMARK_SLOT: found "Not A Slot", expected 1 to 63 of a-z, 0-9 and "_"');
  });
});

describe('running', () => {
  it(
    'needs no more than REPLICATION where the publication is there, and makes a topic that is missing',
    { timeout: 180_000 },
    async () => {
      await stack.sql(`create publication ${stack.publication} for table good`);
      await withKafkaAdmin(stack.brokers, async (admin) => {
        await admin.deleteTopics({ topics: [stack.topic] });
        await eventually(async () => expect(await admin.listTopics()).not.toContain(stack.topic));
      });
      const url = await role('modest', 'replication');
      const modest = await anotherInvalidator(stack, {
        name: 'modest',
        env: { TIDEMARK_POSTGRES_URL: url, TIDEMARK_TOPIC_RETENTION: '2h' },
      });
      await modest.start();
      const feed = await Feed.open(stack);
      onTestFinished(() => feed.stop());
      await stack.sql('insert into good values (1)');
      await eventually(() => expect(feed.changes().map(({ after }) => after?.['id'])).toContain('1'));
      await withKafkaAdmin(stack.brokers, async (admin) => {
        const { topics } = await admin.fetchTopicMetadata({ topics: [stack.topic] });
        expect(topics[0]?.partitions).toHaveLength(1);
        const { resources } = await admin.describeConfigs({
          includeSynonyms: false,
          resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: stack.topic }],
        });
        const settings = Object.fromEntries(
          resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]) ?? [],
        );
        expect(settings).toMatchObject({ 'cleanup.policy': 'delete', 'retention.ms': '7200000' });
      });
      expect(modest.logs().join('\n')).toContain('ALTER TABLE public.bare REPLICA IDENTITY FULL;');
      await modest.stop();
      await stack.sql(`drop publication ${stack.publication}; select pg_drop_replication_slot('${stack.slot}')`);
    },
  );

  it(
    'refuses rules that a replica identity cannot serve, and serves them as soon as it can',
    { timeout: 180_000 },
    async () => {
      await stack.invalidator.start();
      const feed = await Feed.open(stack);
      onTestFinished(() => feed.stop());
      await feed.claims(1);
      const logs = stack.logs('invalidator').join('\n');
      expect(logs).toContain('ALTER TABLE public.good REPLICA IDENTITY FULL;');
      expect(logs).toContain('ALTER TABLE public.bare REPLICA IDENTITY FULL;');
      // A table without a replica identity is not published: the application's own writes would fail.
      await stack.sql('update bare set v = 2');
      await stack.sql('alter table good replica identity full; alter table bare replica identity full');
      await feed.claims(3);
      const { length } = feed.batches;
      await stack.sql('update bare set id = 2, v = 3');
      await eventually(() =>
        expect(feed.changes(length)).toMatchObject([{ table: 'public.bare', before: { id: '1' }, after: { id: '2' } }]),
      );
      const metrics = await (await fetch(`${stack.invalidator.url}/metrics`)).text();
      expect(metrics).toContain('tidemark_invalidator_uncovered_namespaces 0');
      expect(metrics).toContain('tidemark_invalidator_state{state="streaming"} 1');
      expect(metrics).toContain('tidemark_invalidator_epochs_total{reason="slot-missing"} 1');
    },
  );

  it(
    '[I8] claims no namespace of a table at first that DDL changed while it was away',
    { timeout: 180_000 },
    async () => {
      const feed = await Feed.open(stack);
      onTestFinished(() => feed.stop());
      await feed.claims(3);
      stack.invalidator.hold();
      await stack.invalidator.kill();
      await stack.sql('alter table good add column more int');
      const changedAtUs = Date.now() * 1000;
      await stack.invalidator.release();
      // What it wrote before may not have been read yet.
      const first = await eventually(() => {
        const found = feed.batches.find(({ publishedAtUs }) => publishedAtUs > changedAtUs);
        if (found === undefined) throw new Error('no record since');
        return found;
      });
      // The namespace of the other table goes on.
      expect(first.covers).toHaveLength(1);
      await feed.claims(3);
      // Without DDL it goes on where it was.
      await stack.invalidator.kill('SIGTERM');
      await stack.invalidator.ready();
      const again = feed.batches.length;
      await eventually(() => expect(feed.batches.length).toBeGreaterThan(again));
      expect(feed.batches.slice(again).every(({ covers }) => covers.length === 3)).toBe(true);
    },
  );
});

describe('POST /v1/purge', () => {
  const purge = (body: string, method = 'POST') =>
    fetch(`${stack.invalidator.url}/v1/purge`, { method, ...(method === 'POST' && { body }) });

  it('[I11] writes the purge into the WAL and answers its very position', async () => {
    const feed = await Feed.open(stack);
    onTestFinished(() => feed.stop());
    const response = await purge(
      JSON.stringify({
        purge: [
          { namespace: 'good', keys: ['1', 'ä'], tags: ['x'] },
          { namespace: 'bare', all: true },
        ],
      }),
    );
    expect(response.status).toBe(200);
    const { lsn } = (await response.json()) as { lsn: string };
    await feed.reaches(lsn);
    const batch = feed.batches.find(({ purges }) => purges.some(({ keys }) => keys.includes('ä')));
    expect(batch?.purges).toMatchObject([
      { namespace: 'good', keys: ['1', 'ä'], tags: ['x'], all: false },
      { namespace: 'bare', all: true },
    ]);
    const commits = batch?.commits.map((position) =>
      `${Math.floor(position / 2 ** 32).toString(16)}/${(position % 2 ** 32).toString(16)}`.toUpperCase(),
    );
    expect(commits).toContain(lsn);
  });

  it.each([
    ['no JSON', '{', 400, 'bad-request'],
    ['nothing to purge', '{"purge":[]}', 400, 'bad-request'],
    ['an unknown member', '{"purge":[{"namespace":"good","all":true}],"more":1}', 400, 'bad-request'],
    ['too much', JSON.stringify({ purge: [{ namespace: 'x'.repeat(2_000_000), all: true }] }), 413, 'too-large'],
  ])('refuses %s', async (_what, body, status, code) => {
    const response = await purge(body);
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    expect(((await response.json()) as { type: string }).type).toContain(code);
  });

  it('knows its methods and paths', async () => {
    expect((await purge('', 'GET')).status).toBe(405);
    expect((await fetch(`${stack.invalidator.url}/elsewhere`)).status).toBe(404);
    await eventually(async () => expect((await fetch(`${stack.invalidator.url}/readyz`)).status).toBe(200));
  });

  it('a message of the application that is no purge purges every namespace', async () => {
    const feed = await Feed.open(stack);
    onTestFinished(() => feed.stop());
    await stack.sql(
      `begin; insert into good values (100); select pg_logical_emit_message(true, 'tidemark', 'purge them all'); commit`,
    );
    await eventually(() =>
      expect(feed.batches.flatMap(({ purges }) => purges)).toContainEqual(
        expect.objectContaining({ namespace: '', all: true }),
      ),
    );
    expect(await (await fetch(`${stack.invalidator.url}/metrics`)).text()).toContain(
      'tidemark_invalidator_unreadable_purges_total 1',
    );
  });
});
