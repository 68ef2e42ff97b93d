import { formatLsn } from '@tidemark/proto';
import { loadConfigFile } from '@tidemark/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createStack, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { L2 } from './support/l2.ts';
import { tidemark, type Ended } from './support/command.ts';
import { Stream } from './support/stream.ts';

// The command on a real Kafka, between a stream that the test writes and the lines that come out.

let stack: Stack;
let stream: Stream;
let l2: L2;

beforeAll(async () => {
  stack = await createStack(sharedServers(), {
    prepareOnly: true,
    config: {
      namespaces: {
        user: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] },
        list: { source: 'main', invalidate: [{ table: 'public.users', tags: ['user:{id}'] }] },
        mail: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{email}'] }] },
        price: { source: 'main', invalidation: 'ttl_only' },
      },
    },
  });
  l2 = new L2(stack.redis, loadConfigFile(stack.configFile));
  stream = new Stream({ brokers: stack.brokers, topic: stack.topic, covers: l2.covers() });
  await stream.start();
});
afterAll(async () => {
  l2?.redis.disconnect();
  await stream?.stop();
  await stack?.stop();
});

const replay = (...args: string[]): Promise<Ended> =>
  tidemark(['replay', ...args], {
    TIDEMARK_CONFIG: stack.configFile,
    TIDEMARK_KAFKA_BROKERS: stack.brokers.join(','),
    TIDEMARK_REDIS_URL: stack.redis,
  });

const linesOf = ({ stdout }: Ended): unknown[] =>
  stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);

it('tells each invalidation from the earliest on, with what caused it', async () => {
  const first = await stream.say({ users: ['1'] });
  await stream.say({});
  const second = await stream.say({ purges: [{ namespace: 'list', keys: ['a"b'], tags: [], all: true }] });
  const ended = await replay('--from', 'earliest');
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  const at = { epoch: 1, table: 'public.users', op: 'update', lsn: formatLsn(first.commits[0] ?? 0) };
  const committedAt = new Date(first.committedAtUs / 1000).toISOString();
  const missing = { kind: 'namespace', name: null, why: [{ cause: 'missing-column', columns: ['email'] }], op: null };
  const purged = { epoch: 1, lsn: formatLsn(second.commits[0] ?? 0), table: null, op: 'purge' };
  expect(linesOf(ended).slice(-5)).toEqual([
    { ...at, committedAt, namespace: 'list', kind: 'tag', name: 'user:1' },
    { ...at, committedAt, namespace: 'user', kind: 'key', name: '1' },
    { ...at, committedAt, namespace: 'mail', ...missing },
    expect.objectContaining({ ...purged, op: null, namespace: 'list', kind: 'namespace', why: [{ cause: 'purge' }] }),
    expect.objectContaining({ ...purged, namespace: 'list', kind: 'key', name: 'a"b' }),
  ]);
});
