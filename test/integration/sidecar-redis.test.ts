import { parseConfig, rulesOfSource, type Entry } from '@tidemark/proto';
import {
  APPLY_SCRIPT,
  applyCall,
  BEGIN_SCRIPT,
  beginCall,
  bucketKeys,
  parseLogReply,
  type LogHeader,
} from '@tidemark/proto/redis';
import { createLogger, createRedis, redisScript, type RedisClient } from '@tidemark/runtime';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RedisStore } from '../../sidecar/src/adapters/redis/store.ts';
import type { L2Found } from '../../sidecar/src/core/ports.ts';
import { startRedis, type RedisServer } from '../kit/index.ts';
import { eventually } from './support/eventually.ts';
import { beforeTimer } from './support/in-turn.ts';

// The sidecar's side of the fence log, on a real Redis; the applier's side is played by the test with the same scripts.

const parsed = parseConfig({
  sources: { main: { topic: 't' } },
  namespaces: { user: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] } },
});
if (!parsed.ok) throw new Error('the configuration is not valid');
const namespace = rulesOfSource(parsed.config, 'main').byName.get('user')!;
const pairs = [namespace.hashHex];
const keys = bucketKeys('main', 0);
const logger = createLogger({ service: 'test', instance: 'test', level: 'silent' });
/** Of the client whose waiting is looked at. */
const DEADLINE_MS = 200;
/** Of all others: a machine that is busy decides nothing. */
const PATIENCE_MS = 30_000;

let server: RedisServer;
let client: RedisClient;
let store: RedisStore;

beforeAll(async () => {
  server = await startRedis();
  client = createRedis(server.url, { deadlineMs: PATIENCE_MS, logger });
  await isUp(client);
});
afterAll(async () => {
  client.close();
  await server.stop();
});
beforeEach(async () => {
  await client.command('FLUSHALL');
  store = newStore(client);
});

function isUp(on: RedisClient): Promise<void> {
  return eventually(() => expect(on.isUp).toBe(true));
}

function newStore(on: RedisClient, deadlineMs = PATIENCE_MS): RedisStore {
  return new RedisStore({
    client: on,
    source: 'main',
    buckets: 1,
    packing: () => ({ compressOverBytes: 4096, chunkBytes: 65_536, maxItemBytes: 2 ** 20 }),
    deadlineMs,
    onLatency: () => undefined,
  });
}

function entry(more: Partial<Entry> = {}): Entry {
  const now = Date.now();
  const body = Buffer.from('value');
  return {
    asOf: 2000,
    epoch: 1,
    storedAtMs: now,
    freshUntilMs: now + 600_000,
    expiresAtMs: now + 600_000,
    keepUntilMs: now + 600_000,
    loadMs: 0,
    absent: false,
    contentType: 'text/plain',
    etag: '"e"',
    tags: [],
    body,
    ...more,
  };
}

async function begin(generation: string, to = 1000): Promise<LogHeader> {
  const seen = ((await client.command('GET', keys.log)) as Buffer | null)?.toString() ?? '';
  const call = beginCall(keys, {
    position: { epoch: 1, to, visible: to, nextOffset: 0 },
    seen,
    generation,
    digest: 'd',
    pairs,
  });
  const reply = parseLogReply(await client.script(redisScript(BEGIN_SCRIPT), call.keys, call.args));
  expect(reply.status).toBe('ok');
  return reply.header!;
}

async function apply(
  header: LogHeader,
  to: number,
  fences: { keys?: readonly string[]; tags?: readonly string[] },
): Promise<LogHeader> {
  const named = (names: readonly string[] = []) => names.map((name) => ({ pair: namespace.hashHex, name, lsn: to }));
  const position = { epoch: 1, to, visible: to, nextOffset: 1 };
  const batch = { header, position, from: header.to, maxFences: 100, after: '-', part: '-' };
  const call = applyCall(keys, {
    ...batch,
    pairs: pairs.map((pair) => ({ pair, lsn: 0 })),
    keyFences: named(fences.keys),
    tagFences: named(fences.tags),
  });
  const reply = parseLogReply(await client.script(redisScript(APPLY_SCRIPT), call.keys, call.args));
  expect(reply.status).toBe('ok');
  return reply.header!;
}

async function sight(key: string, from = store): Promise<L2Found> {
  const found = await from.read(namespace, key);
  if (typeof found === 'string') throw new Error(`Redis answered ${found}`);
  return found;
}

async function read(key: string, from = store): Promise<Entry | undefined> {
  return (await sight(key, from)).entry;
}

describe('[I7] entries', () => {
  it('come back as they were filled, with memory of their own', async () => {
    await begin('g1');
    const filled = entry({ body: Uint8Array.from({ length: 256 }, (_, i) => i), contentType: 'x/y', absent: false });
    expect(await store.fill(namespace, 'a/ü\0', filled)).toBe('ok');
    const found = await read('a/ü\0', newStore(client));
    expect(found).toEqual({ ...filled, body: Buffer.from(filled.body) });
    expect(found!.body.buffer.byteLength).toBe(256);
  });

  it('have no home before there is a log', async () => {
    expect(await store.fill(namespace, 'a', entry())).toBe('missing');
    const found = await store.read(namespace, 'a');
    expect(found).toMatchObject({ entry: undefined, context: { log: undefined } });
  });

  it('are refused where a fence is newer, and gone where one came later', async () => {
    const header = await apply(await begin('g1'), 3000, { keys: ['a'], tags: ['t'] });
    expect(await store.fill(namespace, 'a', entry())).toBe('fenced');
    expect(await store.fill(namespace, 'b', entry({ tags: ['x', 't'] }))).toBe('fenced');
    expect(await store.fill(namespace, 'c', entry({ tags: ['x'] }))).toBe('ok');
    expect(await store.fill(namespace, 'd', entry())).toBe('ok');
    await apply(header, 4000, { keys: ['d'], tags: ['x'] });
    expect([await read('c'), await read('d')]).toEqual([undefined, undefined]);
  });

  it('with tags cost a second command, those without do not', async () => {
    await begin('g1');
    await store.fill(namespace, 'plain', entry());
    await store.fill(namespace, 'tagged', entry({ tags: ['t'] }));
    await read('plain');
    expect(store.counters.commands).toMatchObject({ read: 1, 'read-tagged': 0 });
    await read('tagged');
    expect(store.counters.commands).toMatchObject({ read: 2, 'read-tagged': 1 });
  });

  it('of another generation are out of reach, and the new one is learned by reading or filling', async () => {
    await begin('g1');
    await store.fill(namespace, 'a', entry());
    const [reader, filler] = [newStore(client), newStore(client)];
    expect([await read('a', reader), await read('a', filler)]).toEqual([expect.anything(), expect.anything()]);
    await begin('g2', 1500);
    expect(await read('a', reader)).toBeUndefined();
    expect(await filler.fill(namespace, 'a', entry())).toBe('ok');
    expect(await read('a', reader)).toBeDefined();
  });

  it('of another epoch are not filled', async () => {
    await begin('g1');
    expect(await store.fill(namespace, 'a', entry({ epoch: 2 }))).toBe('changed');
  });

  it('that are damaged are none', async () => {
    await begin('g1');
    await store.fill(namespace, 'a', entry());
    await client.command('SETRANGE', keys.entry('g1', namespace.hashHex, 'a'), 60, 'X');
    expect(await read('a')).toBeUndefined();
    expect(store.counters.failures.damaged).toBe(1);
  });

  it('[I12] take the position that their log has reached, and nothing else of them changes', async () => {
    const header = await begin('g1');
    const now = Date.now();
    const filled = entry({
      tags: ['t', 'ü'],
      storedAtMs: now - 30_000,
      freshUntilMs: now,
      expiresAtMs: now + 300_000,
      keepUntilMs: now + 600_000,
    });
    expect(await store.fill(namespace, 'a', filled)).toBe('ok');
    const seen = await sight('a');
    expect(await store.promote(namespace, 'a', seen, 5000)).toBe('changed');
    await apply(header, 5000, { tags: ['other'] });
    await store.fill(namespace, 'b', { ...filled, etag: '"other"' });
    expect(await store.promote(namespace, 'a', await sight('b'), 5000)).toBe('changed');
    expect(await store.promote(namespace, 'absent', seen, 5000)).toBe('changed');
    expect(await store.promote(namespace, 'a', seen, 5000)).toBe('ok');
    expect(await read('a')).toEqual({ ...filled, asOf: 5000 });
    expect(store.counters.failures.damaged).toBe(0);
    const ttl = Number(await client.command('PTTL', keys.entry('g1', namespace.hashHex, 'a')));
    expect(ttl).toBeGreaterThan(300_000);
    expect(ttl).toBeLessThanOrEqual(600_000);
  });

  it('[I12] are not promoted over what has changed', async () => {
    const header = await begin('g1');
    const filled = entry({ tags: ['t'] });
    await store.fill(namespace, 'a', filled);
    const seen = await sight('a');
    await apply(header, 5000, { tags: ['t'] });
    expect(await store.promote(namespace, 'a', seen, 5000)).toBe('fenced');
    await client.command('FLUSHALL');
    expect(await store.promote(namespace, 'a', seen, 5000)).toBe('missing');
  });

  it('end with their TTL', async () => {
    await begin('g1');
    await store.fill(namespace, 'a', entry());
    const ttl = Number(await client.command('PTTL', keys.entry('g1', namespace.hashHex, 'a')));
    expect(ttl).toBeGreaterThan(300_000);
    expect(ttl).toBeLessThanOrEqual(600_000);
  });
});

it('plain entries need no log', async () => {
  const filled = entry({ asOf: 0, epoch: 0 });
  expect(await store.writePlain('p', 'k', filled)).toBe('ok');
  expect(await store.readPlain('p', 'k')).toEqual(filled);
  expect(await store.deletePlain('p', 'k')).toBe('ok');
  expect(await store.readPlain('p', 'k')).toBeUndefined();
});

it('the probe tells how far the log is', async () => {
  expect(await store.probe()).toBeUndefined();
  await begin('g1', 1234);
  expect(await store.probe()).toMatchObject({ to: 1234, generation: 'g1' });
});

describe('a Redis that is silent', () => {
  let impatient: RedisClient;
  beforeEach(async () => {
    impatient = createRedis(server.url, { deadlineMs: DEADLINE_MS, logger });
    await isUp(impatient);
    await begin('g1');
    store = newStore(impatient, DEADLINE_MS);
  });
  afterEach(() => impatient.close());

  it('is waited for no longer than the deadline, then not asked until it answers again', async () => {
    server.pause();
    try {
      for (let i = 0; i < 5; i++) {
        expect(await beforeTimer(store.read(namespace, 'a'), DEADLINE_MS + 150)).toBe('away');
      }
      // Where the machine stood still for longer than connections live in silence, the others found none.
      expect(store.counters.failures.deadline).toBeGreaterThan(0);
      // The deadline of the call may run out a moment before that of its command, from which the client knows.
      await eventually(() => expect(store.available).toBe(false));
    } finally {
      server.resume();
    }
    await eventually(async () => {
      await store.probe();
      expect(store.available).toBe(true);
    });
  });

  it('that dies costs nothing, and is used again once it is back', async () => {
    await server.kill();
    await eventually(() => expect(store.available).toBe(false));
    expect(await store.fill(namespace, 'a', entry())).toBe('away');
    expect(await store.readPlain('p', 'a')).toBe('away');
    await server.start();
    for (const each of [client, impatient]) await isUp(each);
    await begin('g9');
    await eventually(async () => expect(await store.fill(namespace, 'a', entry())).toBe('ok'));
  });
});
