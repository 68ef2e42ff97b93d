import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterEach, expect, test, vi } from 'vitest';
import { type KafkaServer, type ProcessHandle, scratchFolder, startKafka, startPostgres, startRedis } from './index.ts';
import { withKafkaAdmin, withPostgres } from './names.ts';

const started: { stop(): Promise<void> }[] = [];

function own<T extends ProcessHandle>(server: T): T {
  started.push(server);
  return server;
}

afterEach(() => Promise.all(started.splice(0).map((server) => server.stop())));

function countRows(url: string): Promise<string | undefined> {
  return withPostgres(
    url,
    async (client) => (await client.query<{ count: string }>('select count(*) from kept')).rows[0]?.count,
  );
}

test('Postgres comes back on its own data and address after a kill and after a restart', async () => {
  const postgres = own(await startPostgres());
  await withPostgres(postgres.url, (client) => client.query('create table kept (id int); insert into kept values (1)'));
  await postgres.kill();
  await expect(countRows(postgres.url)).rejects.toThrow('ECONNREFUSED');
  await postgres.start();
  expect(await countRows(postgres.url)).toBe('1');
  await postgres.restart();
  expect(await countRows(postgres.url)).toBe('1');
});

test('Postgres can be paused with its sessions, and killed while it is', async () => {
  const postgres = own(await startPostgres());
  await withPostgres(postgres.url, async (client) => {
    postgres.pause();
    let answered = false;
    const answer = client.query('select 1').then(() => {
      answered = true;
    });
    const newcomer = new pg.Client({ connectionString: postgres.url, connectionTimeoutMillis: 300 });
    await expect(newcomer.connect()).rejects.toThrow('timeout');
    expect(answered).toBe(false);
    postgres.resume();
    await answer;
  });
  postgres.pause();
  await postgres.kill();
  await postgres.start();
});

async function newestOffset(kafka: KafkaServer): Promise<string | undefined> {
  return withKafkaAdmin(kafka.brokers, async (admin) => (await admin.fetchTopicOffsets('kept'))[0]?.high);
}

test('Kafka comes back on its own data and address after a kill and after a restart', async () => {
  const kafka = own(await startKafka());
  await withKafkaAdmin(kafka.brokers, (admin) =>
    admin.createTopics({ topics: [{ topic: 'kept', numPartitions: 1 }], waitForLeaders: false }),
  );
  // What asks at once asks a broker that may not have heard of the topic yet.
  const isThere = () => expect.poll(() => newestOffset(kafka)).toBe('0');
  await isThere();
  await kafka.kill();
  await kafka.start();
  await isThere();
  await kafka.restart();
  await isThere();
});

test('Redis keeps its data over a kill, and goes back in time when a snapshot is restored', async () => {
  const server = own(await startRedis());
  const redis = new Redis(server.url, { retryStrategy: () => 20, maxRetriesPerRequest: null });
  redis.on('error', () => undefined);
  started.push({ stop: async () => redis.disconnect() });
  await redis.set('key', 'old');
  const snapshot = await server.snapshot();
  await redis.set('key', 'new');
  await server.kill();
  await server.start();
  expect(await redis.get('key')).toBe('new');
  await server.restore(snapshot);
  expect(await redis.get('key')).toBe('old');
  await snapshot.remove();
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('no server and no folder outlives a process that was killed', async () => {
  const folder = scratchFolder('orphans');
  started.push({ stop: () => folder.remove() });
  chmodSync(folder.path, 0o755);
  const script = fileURLToPath(new URL('fixtures/own-servers.ts', import.meta.url));
  const parent = spawn(process.execPath, [script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, TMPDIR: folder.path },
  });
  const [line] = (await once(createInterface(parent.stdout), 'line')) as [string];
  const { pids } = JSON.parse(line) as { pids: number[] };
  expect(pids.map(isAlive)).toEqual([true, true, true]);
  expect(readdirSync(folder.path)).toHaveLength(3);
  parent.kill('SIGKILL');
  await vi.waitFor(() => expect(pids.map(isAlive)).toEqual([false, false, false]), 60_000);
  await vi.waitFor(() => expect(readdirSync(folder.path)).toEqual([]), 60_000);
});
