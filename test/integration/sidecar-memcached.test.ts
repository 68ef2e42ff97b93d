import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createStack, startMemcached, type MemcachedServer, type SidecarHandle, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { App, appsOf } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { JudgedLoad, judgedNamespaces, judgedSql } from './support/judged-load.ts';
import { metric } from './support/l2.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';

// Two sidecars over a real Postgres and Kafka share values through two real memcached (SPEC I17).

const DEADLINE_MS = 50;
const onlyIfCached = { 'cache-control': 'only-if-cached' };

let servers: readonly [MemcachedServer, MemcachedServer];
let stack: Stack;
let apps: readonly [App, App];

beforeAll(async () => {
  servers = await Promise.all([startMemcached(), startMemcached()]);
  const [first, second] = servers;
  const url = `memcached://127.0.0.1:${first.port},127.0.0.1:${second.port}/test`;
  stack = await createStack(sharedServers(), {
    sidecars: 2,
    redis: false,
    env: { sidecar: { TIDEMARK_MEMCACHED_URL: url, TIDEMARK_COALESCE_TIMEOUT: '200ms' } },
    initSql: judgedSql,
    config: {
      namespaces: {
        ...judgedNamespaces,
        plain: { source: 'main', invalidation: 'ttl_only' },
      },
    },
  });
  apps = appsOf(stack) as [App, App];
  await cacheable(stack);
});
afterAll(async () => {
  await stack?.stop();
  for (const server of servers ?? []) await server.stop();
});

const versionOf = async (id: number): Promise<string> =>
  `${(await stack.sql<{ version: number }>('select version from items where id = $1', [id]))[0]?.version}`;

/** A value that is read through one sidecar is found by the other in memcached. */
async function shared(namespace: string, id: number, tags?: readonly string[]): Promise<string> {
  return eventually(async () => {
    const version = await versionOf(id);
    await apps[0].read(namespace, `${id}`, async () => version, tags && { tags });
    const found = await apps[1].get(namespace, `${id}`, onlyIfCached);
    expect(found.cacheStatus).toContain('detail=l2');
    expect(found.body).toBe(version);
    return version;
  });
}

/** What one sidecar stores the other finds in memcached; a command that took longer than its deadline is tried again. */
async function sharedAs(key: string, body: string): Promise<void> {
  await eventually(async () => {
    const { lease } = await apps[0].get('lists', key, { 'cache-control': 'no-cache' });
    await apps[0].put('lists', key, body, { lease, tags: ['item:9'] });
    const found = await apps[1].get('lists', key, onlyIfCached);
    expect(found.body === body).toBe(true);
    expect(found.cacheStatus).toContain('detail=l2');
  });
}

/** A position that is at or behind every commit so far. */
async function commitLsn(): Promise<string> {
  const [row] = await stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  return row?.lsn ?? '';
}

/** Waits until a sidecar has applied what was committed by now. */
async function applies(app: App): Promise<void> {
  const headers = { ...onlyIfCached, 'tidemark-min-lsn': await commitLsn() };
  await eventually(async () => expect((await app.get('items', 'nothing', headers)).cacheStatus).toMatch(/fwd=miss/));
}

async function notServed(namespace: string, id: number, version: string): Promise<void> {
  for (const app of apps)
    await eventually(async () => expect((await app.get(namespace, `${id}`, onlyIfCached)).body).not.toBe(version));
}

const l2StateOf = async (sidecar: SidecarHandle): Promise<string> =>
  ((await (await fetch(`${sidecar.admin}/v1/status`)).json()) as { l2: { state: string } }).l2.state;

it('[I17] values by key and by tag are shared, and not served any more once they have changed', async () => {
  showLogsOnFailure(stack);
  const byKey = await shared('items', 1);
  const byTag = await shared('lists', 1, ['item:1']);
  const fences = await metric(stack.sidecars[1]!.admin, 'tidemark_l2_misses_total{reason="fenced"}');
  await stack.sql('update items set version = version + 1 where id = 1');
  await notServed('items', 1, byKey);
  await notServed('lists', 1, byTag);
  // It is there still: nobody deletes in memcached. The sidecars know that it is old.
  await eventually(async () => {
    await apps[1].get('items', '1', onlyIfCached);
    expect(await metric(stack.sidecars[1]!.admin, 'tidemark_l2_misses_total{reason="fenced"}')).toBeGreaterThan(fences);
  });
  expect(await shared('items', 1)).toBe('2');
  expect(await shared('lists', 1, ['item:1'])).toBe('2');
});

it('[I17] a sidecar that starts later uses nothing from before its start, and everything from then on', async () => {
  showLogsOnFailure(stack);
  await shared('items', 2);
  // Positions move on, so that what was stored is older than what the new one begins at.
  await stack.sql('update items set version = version + 1 where id = 3');
  // It begins at the newest record that Kafka has.
  await applies(apps[0]);
  const later = await stack.addSidecar();
  const app = new App(later.url);
  await cacheable(stack);
  await eventually(async () => {
    expect((await app.get('items', '2', onlyIfCached)).status).not.toBe(200);
    expect(await metric(later.admin, 'tidemark_l2_misses_total{reason="behind"}')).toBeGreaterThan(0);
  });
  const version = await versionOf(3);
  await eventually(async () => {
    await stack.sql('update items set version = version where id = 3');
    for (const each of [apps[0], app]) await applies(each);
    await apps[0].read('items', '3', async () => version);
    expect(await app.get('items', '3', onlyIfCached)).toMatchObject({ status: 200, body: version });
  });
  await later.stop();
});

it('values without coherence are shared too, and deleted', async () => {
  await eventually(async () => {
    await apps[0].put('plain', 'k', 'value', {});
    expect((await apps[1].get('plain', 'k', onlyIfCached)).body).toBe('value');
  });
  await eventually(async () => {
    await apps[0].delete('plain', 'k');
    expect((await apps[0].get('plain', 'k', onlyIfCached)).status).toBe(404);
  });
});

it('shares values under keys that look like anything', async () => {
  const keys = ['with space', 'x'.repeat(500), 'ünïcode\n', '%', 'a/b'];
  for (const key of keys) await sharedAs(key, `value of ${key}`);
});

it('a value that is larger than what is stored at once is shared in parts', async () => {
  await sharedAs('large', randomBytes(750_000).toString('base64'));
});

it(
  '[I17] memcached is killed, stopped, flushed and restarted under load, and nobody is served an old value',
  { timeout: 900_000 },
  async () => {
    showLogsOnFailure(stack);
    const load = new JudgedLoad(stack, apps);
    try {
      await load.goesOn();
      for (let round = 0; round < 3; round++) {
        const [server, other] =
          round % 2 === 0 ? servers : (servers.toReversed() as [MemcachedServer, MemcachedServer]);
        await server.kill();
        await load.goesOn(); // through the other one
        await server.start();
        other.pause();
        await pause(300);
        other.resume();
        await load.goesOn();
        for (const each of servers) await each.flush();
        await load.goesOn();
        // Both at once.
        for (const each of servers) await each.kill();
        for (const sidecar of stack.sidecars.slice(0, 2))
          await eventually(async () => expect(await l2StateOf(sidecar)).toBe('down'));
        for (const each of servers) await each.start();
        await load.goesOn();
      }
    } finally {
      await load.judge();
    }
  },
);

it('hits in memory are as fast as ever while memcached stands still; a miss waits for the deadline at the most, and soon not at all', async () => {
  const [app] = apps;
  const timings = async (count: number, keyOf: (i: number) => string): Promise<number[]> => {
    const all: number[] = [];
    for (let i = 0; i < count; i++) {
      const startedAt = performance.now();
      await app.get('items', keyOf(i));
      all.push(performance.now() - startedAt);
    }
    return all.toSorted((a, b) => a - b);
  };
  await eventually(async () => expect(await l2StateOf(stack.sidecars[0]!)).toBe('up'));
  const { lease } = await app.get('items', 'hot', { 'cache-control': 'no-cache' });
  await app.put('items', 'hot', 'value', { lease });
  const before = await timings(300, () => 'hot');
  for (const server of servers) server.pause();
  try {
    // Medians, because the machine may be busy with other things at any one of them; what waits for memcached does so each time, for
    // longer than the deadline.
    const firstMisses = await timings(12, (i) => `first-${i}`);
    expect(firstMisses[6]!).toBeLessThan(DEADLINE_MS + 100 + 3 * before[150]!);
    await eventually(async () => expect(await l2StateOf(stack.sidecars[0]!)).toBe('down'));
    const asked = (): Promise<number> => metric(stack.sidecars[0]!.admin, 'tidemark_l2_commands_total{command="read"}');
    const askedBefore = await asked();
    const hits = await timings(300, () => 'hot');
    expect(hits[150]!).toBeLessThan(Math.max(before[150]! * 5, DEADLINE_MS));
    const misses = await timings(100, (i) => `later-${i}`);
    expect(misses[50]!).toBeLessThan(Math.max(before[150]! * 5, DEADLINE_MS));
    expect(await asked()).toBe(askedBefore);
    process.stderr.write(`p50 of hits: ${before[150]!.toFixed(2)} ms before, ${hits[150]!.toFixed(2)} ms meanwhile\n`);
  } finally {
    for (const server of servers) server.resume();
  }
  await eventually(async () => expect(await l2StateOf(stack.sidecars[0]!)).toBe('up'));
});
