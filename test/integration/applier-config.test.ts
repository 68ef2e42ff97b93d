import { parseConfig, rulesOfSource } from '@tidemark/proto';
import { createKafka, createLogger, ensureConfigTopic, publishConfig } from '@tidemark/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePort, type ProcessHandle } from '../kit/index.ts';
import {
  claimRedisDatabase,
  createTopic,
  deleteTopic,
  returnRedisDatabase,
  uniqueWord,
  withRedis,
} from '../kit/names.ts';
import { sharedServers } from '../kit/shared.ts';
import { tidemarkProcess } from '../kit/tidemark.ts';
import { eventually } from './support/eventually.ts';
import { Stream } from './support/stream.ts';

// An applier that follows the configuration topic, with documents and a stream that the test writes itself.

const logger = createLogger({ service: 'test', instance: 'documents', level: 'silent' });
const user = { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] };
const list = { source: 'main', invalidate: [{ table: 'public.users', tags: ['user:{id}'] }] };
const word = uniqueWord();
let brokers: readonly string[];
let redis: string;
let stream: Stream;
let applier: ProcessHandle;
let url: string;

const documentOf = (namespaces: object, name = 'main') => ({ sources: { [name]: { topic: word } }, namespaces });

function hashOf(namespaces: object, name: string): { hash: bigint; hashHex: string } {
  const parsed = parseConfig(documentOf(namespaces));
  const rules = parsed.ok ? rulesOfSource(parsed.config, 'main').byName.get(name) : undefined;
  if (rules === undefined) throw new Error(`no rules of ${name}`);
  return rules;
}

beforeAll(async () => {
  ({ brokers } = sharedServers().kafka);
  redis = await claimRedisDatabase(sharedServers());
  await createTopic(sharedServers(), word, {});
  stream = new Stream({
    ...{ brokers, topic: word },
    covers: [hashOf({ user }, 'user').hash, hashOf({ list }, 'list').hash],
  });
  await stream.start();
  stream.beat();
  const address = `127.0.0.1:${await freePort()}`;
  url = `http://${address}`;
  applier = await tidemarkProcess({
    role: 'applier',
    name: 'applier',
    supervise: false,
    env: {
      TIDEMARK_CONFIG_TOPIC: `${word}.config`,
      TIDEMARK_KAFKA_BROKERS: brokers.join(','),
      TIDEMARK_REDIS_URL: redis,
      TIDEMARK_HTTP_LISTEN: address,
      TIDEMARK_GROUP: word,
    },
  });
});
afterAll(async () => {
  await applier?.stop();
  await stream?.stop();
  await deleteTopic(sharedServers(), word);
  await returnRedisDatabase(redis);
});

let revision = 0;

async function publish(document: object): Promise<void> {
  const kafka = createKafka({ brokers, tls: false, clientId: 'documents', logger });
  await ensureConfigTopic(kafka, `${word}.config`);
  revision += 1;
  await eventually(() => publishConfig(kafka, { topic: `${word}.config`, term: 0, revision, document }));
}

const metrics = async (): Promise<string> => (await fetch(`${url}/metrics`)).text();

/** Header of the log, and the namespaces that it knows. */
async function log(): Promise<{ generation: string; adoption: string; known: readonly string[] }> {
  return withRedis(redis, async (client) => {
    const [, generation = '', adoption = ''] = ((await client.get('tidemark1:{main:0}:L')) ?? '').split(' ');
    const known: string[] = [];
    for (const [name, namespaces] of [
      ['user', { user }],
      ['list', { list }],
    ] as const) {
      const state = await client.get(`tidemark1:{main:0}:N:${hashOf(namespaces, name).hashHex}`);
      if (state?.startsWith(`${adoption} `) === true) known.push(name);
    }
    return { generation, adoption, known };
  });
}

it('[I16] an applier waits for a document, and each later one ends its session: the next one adopts', async () => {
  const started = applier.start();
  started.catch(() => undefined);
  await eventually(async () => {
    const ready = await fetch(`${url}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([503, 'waiting\n']);
  });
  expect((await fetch(`${url}/livez`)).status).toBe(200);
  await publish(documentOf({ user }));
  await started;
  await eventually(async () => expect((await log()).known).toEqual(['user']), { withinMs: 20_000 });
  const first = await log();
  await publish(documentOf({ user, list }));
  await eventually(async () => expect((await log()).known).toEqual(['user', 'list']));
  const second = await log();
  expect(second.generation).toBe(first.generation);
  expect(second.adoption).not.toBe(first.adoption);
  // Nothing that an applier would do differently: the session goes on.
  await publish(documentOf({ user: { ...user, ttl: { hard: '1h' } }, list }));
  await publish(documentOf({ user: { ...user, source: 'other' } }, 'other'));
  await eventually(async () => {
    const text = await metrics();
    for (const result of ['applied"} 2', 'unchanged"} 1', 'refused"} 1', 'ignored"} 0'])
      expect(text).toContain(`tidemark_applier_config_changes_total{result="${result}`);
    expect(text).toContain('tidemark_applier_config_revision 3');
  });
  await stream.say({ users: ['1'] });
  expect(await log()).toMatchObject({
    generation: first.generation,
    adoption: second.adoption,
    known: ['user', 'list'],
  });
  await publish(documentOf({ list }));
  await eventually(async () => expect((await log()).known).toEqual(['list']));
});
