import { readFile } from 'node:fs/promises';
import { parseConfig, rulesOfSource } from '@tidemark/proto';
import { parse } from 'yaml';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createStack, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { Stream } from './support/stream.ts';

// One sidecar on a real Kafka, and a stream that the test writes itself.

let stack: Stack;
let stream: Stream;
let app: App;

beforeAll(async () => {
  stack = await createStack(sharedServers(), {
    prepareOnly: true,
    redis: false,
    config: {
      namespaces: {
        user: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] },
        list: { source: 'main', invalidate: [{ table: 'public.users', tags: ['user:{id}'] }] },
      },
    },
  });
  const parsed = parseConfig(parse(await readFile(stack.configFile, 'utf8')));
  if (!parsed.ok) throw new Error('the configuration is not valid');
  const covers = rulesOfSource(parsed.config, stack.source).namespaces.map(({ hash }) => hash);
  stream = new Stream({ brokers: stack.brokers, topic: stack.topic, covers });
  await stream.start();
  stream.beat();
  const [sidecar] = stack.sidecars;
  await sidecar!.start();
  app = new App(sidecar!.url);
});

afterAll(async () => {
  await stream?.stop();
  await stack?.stop();
});

async function cache(namespace: string, key: string, value: string, tags: readonly string[] = []): Promise<void> {
  const { lease } = await app.get(namespace, key);
  expect(await app.put(namespace, key, value, { lease, tags })).toMatchObject({ status: 201 });
  expect(await app.get(namespace, key)).toMatchObject({ status: 200, body: value });
}

it('serves what was filled until a record evicts it', async () => {
  await cache('user', '1', 'one');
  await cache('user', '2', 'two');
  await cache('list', 'all', 'one, two', ['user:1', 'user:2']);
  await cache('list', 'second', 'two', ['user:2']);
  await stream.say({ users: ['1'] });
  await eventually(async () => expect((await app.get('user', '1')).status).toBe(404));
  expect((await app.get('list', 'all')).status).toBe(404);
  expect((await app.get('user', '2')).status).toBe(200);
  expect((await app.get('list', 'second')).status).toBe(200);
});
