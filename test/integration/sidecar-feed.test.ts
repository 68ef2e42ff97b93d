import { readFile } from 'node:fs/promises';
import { parseConfig, parseLsn, rulesOfSource } from '@tidemark/proto';
import { parse } from 'yaml';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createStack, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { PATIENT } from './support/patient.ts';
import { Stream } from './support/stream.ts';

// One sidecar on a real Kafka, and a stream that the test writes itself.

let stack: Stack;
let stream: Stream;
let app: App;

beforeAll(async () => {
  stack = await createStack(sharedServers(), {
    prepareOnly: true,
    redis: false,
    // However long this process may not be able to write a record.
    env: { sidecar: PATIENT },
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

const onlyIfCached = { 'cache-control': 'only-if-cached' };

async function cache(namespace: string, key: string, value: string, tags: readonly string[] = []): Promise<void> {
  const { lease } = await app.get(namespace, key, { 'cache-control': 'no-cache' });
  expect((await app.put(namespace, key, value, { lease, tags })).status).toBeOneOf([201, 204]);
  expect(await app.get(namespace, key, onlyIfCached)).toMatchObject({ status: 200, body: value });
}

it('serves what was filled until a record evicts it', async () => {
  await cache('user', '1', 'one');
  await cache('user', '2', 'two');
  await cache('list', 'all', 'one, two', ['user:1', 'user:2']);
  await cache('list', 'second', 'two', ['user:2']);
  await stream.say({ users: ['1'] });
  await eventually(async () => expect((await app.get('user', '1', onlyIfCached)).status).toBe(404));
  expect((await app.get('list', 'all', onlyIfCached)).status).toBe(404);
  expect((await app.get('user', '2', onlyIfCached)).status).toBe(200);
  expect((await app.get('list', 'second', onlyIfCached)).status).toBe(200);
});

interface SourceStatus {
  readonly epoch: number;
  readonly applied: string;
  readonly visible: string;
  readonly state: string;
}

async function source(of = stack.sidecars[0]!): Promise<SourceStatus> {
  const { sources } = (await (await fetch(`${of.admin}/v1/status`)).json()) as {
    sources: { main: SourceStatus };
  };
  return sources.main;
}

/** How often records of a kind were seen. */
async function seen(kind: string): Promise<number> {
  const metrics = await (await fetch(`${stack.sidecars[0]!.admin}/metrics`)).text();
  return Number(new RegExp(`^tidemark_records_total\\{kind="${kind}"\\} (\\d+)$`, 'm').exec(metrics)?.[1]);
}

/** A record after which everything is gone, and the sidecar goes on with what follows. */
async function flushes(kind: string, happen: () => Promise<unknown>): Promise<void> {
  await cache('user', kind, 'cached');
  const before = await seen(kind);
  await happen();
  await eventually(async () => expect(await seen(kind)).toBe(before + 1));
  expect((await app.get('user', kind, onlyIfCached)).status).toBe(404);
  await eventually(() => cache('user', `after-${kind}`, 'cached'));
}

it('[I1] flushes at a gap', () => flushes('gap', () => stream.say({ gap: true })));

it('[I1] flushes at what cannot be read', () =>
  flushes('unreadable', () => stream.sendBytes(Buffer.from('no record'))));

it('[I10] flushes at a new epoch', async () => {
  await flushes('new-epoch', () => stream.say({ newEpoch: true }));
  expect((await source()).epoch).toBe(stream.epoch);
});

it('[I3] hands out leases as old as what readers see, and takes no fill that may be older than a change', async () => {
  stream.hush();
  const { to } = await stream.say({});
  await stream.say({ users: ['hidden'], visible: to });
  await eventually(async () => {
    const { applied, visible } = await source();
    expect([parseLsn(applied), parseLsn(visible)]).toEqual([stream.to, to]);
  });
  const { lease } = await app.get('user', 'hidden');
  expect((await app.put('user', 'hidden', 'old', { lease })).status).toBe(409);
  await stream.say({});
  await eventually(() => cache('user', 'hidden', 'new'));
  stream.beat();
});

it('[I11] applies purges of keys, tags and whole namespaces', async () => {
  const purge = { namespace: '', keys: [], tags: [], all: false };
  await cache('user', 'purged', 'x');
  await stream.say({ purges: [{ ...purge, namespace: 'user', keys: ['purged'] }] });
  await eventually(async () => expect((await app.get('user', 'purged', onlyIfCached)).status).toBe(404));
  await cache('list', 'tagged', 'x', ['t']);
  await stream.say({ purges: [{ ...purge, namespace: 'list', tags: ['t'] }] });
  await eventually(async () => expect((await app.get('list', 'tagged', onlyIfCached)).status).toBe(404));
  await cache('list', 'any', 'x');
  await stream.say({ purges: [{ ...purge, all: true }] });
  await eventually(async () => expect((await app.get('list', 'any', onlyIfCached)).status).toBe(404));
});

it('[I9] answers misses without a lease once the stream is silent, and goes on with what it has when it is heard again', async () => {
  const impatient = await stack.addSidecar({ TIDEMARK_MAX_STALENESS: '2s' });
  const its = new App(impatient.url);
  await eventually(async () => {
    const { lease } = await its.get('user', 'kept', { 'cache-control': 'no-cache' });
    expect((await its.put('user', 'kept', 'x', { lease })).status).toBeOneOf([201, 204]);
  });
  stream.hush();
  await eventually(async () =>
    expect((await its.get('user', 'kept')).cacheStatus).toBe('tidemark; fwd=bypass; detail=stalled'),
  );
  expect((await source(impatient)).state).toBe('stalled');
  stream.beat();
  await eventually(async () => {
    expect(await its.get('user', 'kept', onlyIfCached)).toMatchObject({ status: 200, body: 'x' });
    expect((await source(impatient)).state).toBe('live');
  });
});

it('tells how long changes take from their commit to here', async () => {
  await stream.say({ users: ['measured'] });
  await eventually(async () => {
    const metrics = await (await fetch(`${stack.sidecars[0]!.admin}/metrics`)).text();
    expect(metrics).toMatch(/^tidemark_commit_to_evict_seconds_count [1-9]/m);
  });
});
