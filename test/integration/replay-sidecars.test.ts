import { formatLsn, parseLsn } from '@tidemark/proto';
import { loadConfigFile } from '@tidemark/runtime';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createStack, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { appsOf, type App } from './support/app.ts';
import { startTidemark, tidemark, type Ended } from './support/command.ts';
import { eventually } from './support/eventually.ts';
import { L2 } from './support/l2.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';

// Two sidecars of the whole product, with values in their memories and in Redis that nothing will ever evict: the rules
// under which they were stored did not know that they depend on a row.

let stack: Stack;
let apps: App[];
let l2: L2;

beforeAll(async () => {
  stack = await createStack(sharedServers(), {
    sidecars: 2,
    // They answer from their caches however long the machine stands still.
    env: { sidecar: { TIDEMARK_MAX_STALENESS: '10m' } },
    config: {
      namespaces: {
        user: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] },
        page: { source: 'main', invalidate: [{ table: 'public.users', tags: ['users'] }] },
      },
    },
    initSql:
      'create table users (id int primary key, name text); insert into users select n, $$a$$ from generate_series(1, 9) n',
  });
  apps = appsOf(stack);
  l2 = new L2(stack.redis, loadConfigFile(stack.configFile));
  await cacheable(stack);
});
beforeEach(() => showLogsOnFailure(stack));
afterAll(async () => {
  l2?.redis.disconnect();
  await stack?.stop();
});

const env = (): Record<string, string> => ({
  TIDEMARK_CONFIG: stack.configFile,
  TIDEMARK_KAFKA_BROKERS: stack.brokers.join(','),
  TIDEMARK_REDIS_URL: stack.redis,
  TIDEMARK_INVALIDATOR_URL: stack.invalidator.url,
});
const replay = (...args: string[]): Promise<Ended> => tidemark(['replay', ...args], env());

/** Stores a value in every sidecar as an application would, after the last change. */
async function storeEverywhere(namespace: string, key: string, tags: readonly string[] = []): Promise<void> {
  for (const app of apps) {
    await eventually(async () => {
      const { lease } = await app.get(namespace, key, { 'cache-control': 'no-cache' });
      expect(lease).toBeDefined();
      expect((await app.put(namespace, key, 'wrong', { lease, tags })).status).toBeLessThan(300);
    });
  }
}

async function position(): Promise<number> {
  const [row] = await stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  return parseLsn(row?.lsn ?? '');
}

const statuses = (namespace: string, key: string): Promise<number[]> =>
  Promise.all(apps.map(async (app) => (await app.get(namespace, key)).status));

it('[I11] evicts again, from every sidecar and from Redis, what the stream once invalidated', async () => {
  await stack.sql(`update users set name = 'b' where id in (1, 2)`);
  const changed = await position();
  await l2.reaches(changed);
  await storeEverywhere('user', '1');
  await storeEverywhere('user', '9');
  await storeEverywhere('page', 'all', ['users']);
  expect(await statuses('user', '1')).toEqual([200, 200]);
  const dry = await replay('--into', 'sidecars', '--dry-run');
  expect(dry.stdout).toMatch(/^user +[0-9a-f]{16} +2 +2 +0 +0 +0$/m);
  expect(await statuses('user', '1')).toEqual([200, 200]);

  const ended = await replay('--into', 'sidecars', '--to', formatLsn(changed));
  expect(ended).toMatchObject({ code: 0, stdout: '' });
  const [, at = ''] = /3 keys and tags and 0 whole namespaces purged: .* applied (\S+)/.exec(ended.stderr) ?? [];
  for (const { admin } of stack.sidecars) {
    await eventually(async () => {
      const status = (await (await fetch(`${admin}/v1/status`)).json()) as { sources: { main: { applied: string } } };
      expect(parseLsn(status.sources.main.applied)).toBeGreaterThanOrEqual(parseLsn(at));
    });
  }
  await l2.reaches(parseLsn(at));
  expect(await statuses('user', '1')).toEqual([404, 404]);
  expect(await statuses('page', 'all')).toEqual([404, 404]);
  expect(await statuses('user', '9')).toEqual([200, 200]);
  expect(await l2.has('user', '1')).toBe(false);
});

it('[I7] a replay into Redis under way never brings back what is changing, however it runs beside the applier', async () => {
  const seen = new Set<number>();
  for (let round = 0; round < 3 || seen.size <= 3; round++) {
    const running = startTidemark(['replay', '--into', 'redis'], env());
    let hasEnded = false;
    void running.ended.then(() => (hasEnded = true));
    while (!hasEnded) {
      const id = 3 + (seen.size % 6);
      const before = await position();
      await stack.sql('update users set name = name || $1 where id = $2', ['x', id]);
      const to = await position();
      seen.add(to);
      await l2.reaches(to);
      expect(await l2.has('user', String(id))).toBe(false);
      expect(await l2.fill('user', String(id), { asOf: before })).toMatch(/^(fenced|old)$/);
    }
    expect((await running.ended).code).toBe(0);
  }
  expect(seen.size).toBeGreaterThan(3);
});
