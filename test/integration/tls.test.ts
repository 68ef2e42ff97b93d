import { createLogger, createRedis, type RedisClient } from '@tidemark/runtime';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  createStack,
  makeAuthority,
  startKafka,
  startPostgres,
  startRedis,
  type Authority,
  type CertificateFiles,
  type KafkaServer,
  type PostgresServer,
  type RedisServer,
  type SidecarHandle,
  type Stack,
  type StackOptions,
} from '../kit/index.ts';
import { addScramUsers } from '../kit/kafka-users.ts';
import { sharedServers } from '../kit/shared.ts';
import { App, appsOf } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { PATIENT } from './support/patient.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';

// Postgres, Kafka and Redis that speak TLS under an authority of their own and ask everybody to log in.

const SECRETS = {
  redis: 's3cret@redis',
  acl: 'acl:s3cret',
  kafka: 'kafka-s3cret',
  late: 'late-s3cret',
  wrong: 'wr0ng',
};
/** What SECURITY.md says that the sidecar and the applier need of Redis. */
const RIGHTS = /ACL SETUSER tidemark on >PASSWORD (.*)/.exec(
  readFileSync(new URL('../../SECURITY.md', import.meta.url), 'utf8'),
)?.[1];
const logger = createLogger({ service: 'test', instance: 'tls', level: 'silent' });
const onlyIfCached = { 'cache-control': 'only-if-cached' };

let authority: Authority;
let stranger: Authority;
let server: CertificateFiles;
let postgres: PostgresServer;
let kafka: KafkaServer;
let redis: RedisServer;
const cleanups: (() => Promise<unknown> | void)[] = [];

/** Registers what has to be ended, in the order of its start. */
function owned<T extends { stop(): Promise<void> }>(started: T): T {
  cleanups.push(() => started.stop());
  return started;
}

beforeAll(async () => {
  [authority, stranger] = [await makeAuthority('the company'), await makeAuthority('somebody else')];
  cleanups.push(
    () => authority.remove(),
    () => stranger.remove(),
  );
  server = await authority.issue('server');
  const flags = { ssl: 'on', ssl_cert_file: server.certFile, ssl_key_file: server.keyFile };
  postgres = owned(await startPostgres({ fsync: false, flags }));
  kafka = owned(await startKafka({ secure: { tls: server, users: { tidemark: SECRETS.kafka } } }));
  redis = owned(await startRedis({ tls: server, settings: { requirepass: SECRETS.redis } }));
  const admin = await connected(redisUrl('default', SECRETS.redis), trusting(authority));
  await admin.command('ACL', 'SETUSER', 'tidemark', 'on', `>${SECRETS.acl}`, ...(RIGHTS ?? '').split(' '));
});

afterAll(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
});

function trusting({ caFile }: Authority): { ca: string } {
  return { ca: readFileSync(caFile, 'utf8') };
}

function redisUrl(user: string, password: string, port = redis.port): string {
  return `rediss://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}`;
}

function redisClient(url: string, tls: { ca: string; cert?: string; key?: string }): RedisClient {
  const client = createRedis(url, { deadlineMs: 30_000, logger, tls });
  cleanups.push(() => client.close());
  return client;
}

async function connected(...of: Parameters<typeof redisClient>): Promise<RedisClient> {
  const client = redisClient(...of);
  await eventually(() => expect(client.isUp).toBe(true));
  return client;
}

function kafkaEnv(mechanism: string, username: string, password: string): Record<string, string> {
  return {
    TIDEMARK_KAFKA_BROKERS: kafka.secureBrokers.join(','),
    TIDEMARK_KAFKA_TLS: 'true',
    TIDEMARK_KAFKA_CA_FILE: authority.caFile,
    TIDEMARK_KAFKA_SASL_MECHANISM: mechanism,
    TIDEMARK_KAFKA_SASL_USERNAME: username,
    TIDEMARK_KAFKA_SASL_PASSWORD: password,
  };
}

function redisEnv(url: string): Record<string, string> {
  return { TIDEMARK_REDIS_URL: url, TIDEMARK_REDIS_CA_FILE: authority.caFile };
}

/** Whoever may see the most of what is logged. */
const everything = { TIDEMARK_LOG_LEVEL: 'trace' };

/** A stack that reaches its servers by TLS only. */
async function stackWith(env: StackOptions['env'], more: Partial<StackOptions> = {}): Promise<Stack> {
  const url = `${postgres.url}?sslmode=verify-full&sslrootcert=${encodeURIComponent(authority.caFile)}`;
  // The kit itself goes by the broker's plain listener and needs a Redis to choose a database in.
  const servers = { ...sharedServers(), postgres: Object.assign(Object.create(postgres), { url }), kafka };
  return owned(
    await createStack(servers, {
      env: env ?? {},
      initSql: 'create table users (id int primary key, name text); insert into users values (1, $$old$$)',
      config: { namespaces: { users: { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] } } },
      ...more,
    }),
  );
}

async function l2State(sidecar: SidecarHandle): Promise<string> {
  const status = (await (await fetch(`${sidecar.admin}/v1/status`)).json()) as { l2: { state: string } };
  return status.l2.state;
}

function expectNoSecrets(lines: readonly string[]): void {
  expect(lines.length).toBeGreaterThan(0);
  for (const secret of Object.values(SECRETS)) {
    expect(lines.filter((line) => line.includes(secret) || line.includes(encodeURIComponent(secret)))).toEqual([]);
  }
}

describe('with the right credentials and authority', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await stackWith(
      {
        invalidator: { ...everything, ...kafkaEnv('scram-sha-512', 'tidemark', SECRETS.kafka) },
        applier: {
          ...everything,
          ...kafkaEnv('scram-sha-256', 'tidemark', SECRETS.kafka),
          ...redisEnv(redisUrl('tidemark', SECRETS.acl)),
        },
        sidecar: {
          ...everything,
          ...PATIENT,
          ...kafkaEnv('plain', 'tidemark', SECRETS.kafka),
          ...redisEnv(redisUrl('tidemark', SECRETS.acl)),
        },
      },
      { sidecars: 1 },
    );
    await stack.addSidecar(redisEnv(redisUrl('', SECRETS.redis)));
    await cacheable(stack);
  });
  beforeEach(() => showLogsOnFailure(stack));

  it('a value goes from one sidecar to the other through Redis, and a row change evicts it from all', async () => {
    const [first, second] = appsOf(stack) as [App, App];
    await eventually(async () => {
      const { lease } = await first.get('users', '1', { 'cache-control': 'no-cache' });
      expect((await first.put('users', '1', 'old', { lease })).status).toBeOneOf([201, 204]);
      expect(await second.get('users', '1', onlyIfCached)).toMatchObject({ status: 200, body: 'old' });
    });
    await stack.sql("update users set name = 'new' where id = 1");
    for (const app of [first, second])
      await eventually(async () => expect((await app.get('users', '1', onlyIfCached)).status).not.toBe(200));
    await eventually(async () => expect(await Promise.all(stack.sidecars.map(l2State))).toEqual(['up', 'up']));
  });

  it('every connection to Postgres is one of TLS, that of the replication too', async () => {
    const connections = await stack.sql<{ type: string; ssl: boolean }>(`
      select backend_type as type, ssl from pg_stat_activity join pg_stat_ssl using (pid)
       where application_name like 'tidemark invalidator%'`);
    expect(new Set(connections.map(({ type }) => type))).toEqual(new Set(['client backend', 'walsender']));
    expect(connections.filter(({ ssl }) => !ssl)).toEqual([]);
  });

  it('a sidecar with a wrong password for Redis answers misses and says why, without the password', async () => {
    const sidecar = await stack.addSidecar(redisEnv(redisUrl('tidemark', SECRETS.wrong)));
    await expectOnItsOwn(sidecar, 'WRONGPASS');
  });

  it.each([
    ['has another authority', () => stranger.caFile],
    ['has none but those of the system', () => ''],
  ])('a sidecar that %s trusts no Redis, answers misses and says why', async (_, caFile) => {
    const env = { ...redisEnv(redisUrl('tidemark', SECRETS.acl)), TIDEMARK_REDIS_CA_FILE: caFile() };
    await expectOnItsOwn(await stack.addSidecar(env), 'certificate');
  });

  it('no password is in any log', () => expectNoSecrets(stack.logs()));

  /** It serves from its memory alone, and its log says what is wrong with Redis. */
  async function expectOnItsOwn(sidecar: SidecarHandle, reason: string): Promise<void> {
    const app = new App(sidecar.url);
    const { lease } = await eventually(async () => {
      const miss = await app.get('users', sidecar.name, { 'cache-control': 'no-cache' });
      expect(miss).toMatchObject({ status: 404, lease: expect.any(String) });
      return miss;
    });
    expect((await app.put('users', sidecar.name, 'mine', { lease })).status).toBe(201);
    expect((await app.get('users', sidecar.name, onlyIfCached)).body).toBe('mine');
    expect((await appsOf(stack)[0]?.get('users', sidecar.name, onlyIfCached))?.status).toBe(404);
    expect(await l2State(sidecar)).toBe('down');
    const complaints = await eventually(() => {
      const found = sidecar.logs().filter((line) => line.includes('the connection to Redis failed'));
      expect(found[0]).toContain(reason);
      return found;
    });
    expect(complaints).toHaveLength(1);
    expect(sidecar.exits).toEqual([]);
  }
});

describe('with credentials that Kafka does not know', () => {
  it('everything says so and goes on trying, and works as soon as Kafka knows them', { timeout: 300_000 }, async () => {
    const env = { ...everything, ...kafkaEnv('scram-sha-256', 'late', SECRETS.late) };
    const redisAt = redisEnv(redisUrl('default', SECRETS.redis));
    const stack = await stackWith(
      { invalidator: env, applier: { ...env, ...redisAt }, sidecar: { ...env, ...redisAt } },
      { prepareOnly: true },
    );
    showLogsOnFailure(stack);
    const [sidecar] = stack.sidecars as [SidecarHandle];
    const processes = [stack.invalidator, stack.applier, sidecar];
    const starting = processes.map((handle) => handle.start());
    for (const handle of processes) {
      await eventually(
        () =>
          expect(
            handle.logs().filter((line) => /"level":"(warn|error)".*Authentication failed/i.test(line)),
          ).not.toEqual([]),
        { withinMs: 60_000 },
      );
    }
    const bypassed = await new App(sidecar.url).get('users', '1');
    expect([bypassed.status, bypassed.lease]).toEqual([404, undefined]);
    await addScramUsers(kafka.port, { late: SECRETS.late });
    await Promise.all(starting);
    await cacheable(stack);
    expect(processes.map(({ exits }) => exits)).toEqual([[], [], []]);
    expectNoSecrets(stack.logs());
  });

  it('an authority that Kafka does not have is told, and tried again', async () => {
    const env = { ...kafkaEnv('plain', 'tidemark', SECRETS.kafka), TIDEMARK_KAFKA_CA_FILE: stranger.caFile };
    const stack = await stackWith({ sidecar: env }, { prepareOnly: true });
    const [sidecar] = stack.sidecars as [SidecarHandle];
    // It is never ready, and ends with the stack.
    sidecar.start().catch(() => undefined);
    const complaint = /Kafka cannot be read.*|.*certificate.*Kafka cannot be read/;
    await eventually(() => expect(sidecar.logs().find((line) => complaint.test(line))).toMatch(/certificate/), {
      withinMs: 60_000,
    });
    expect(sidecar.exits).toEqual([]);
  });
});

it('a Redis that asks for certificates gets that of the client', async () => {
  const settings = { 'tls-auth-clients': 'yes', 'tls-ca-cert-file': authority.caFile };
  const strict = owned(await startRedis({ tls: server, settings }));
  const { certFile, keyFile } = await authority.issue('client');
  const own = { ...trusting(authority), cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
  const client = await connected(strict.url, own);
  expect(await client.command('PING')).toEqual(Buffer.from('PONG'));
  const without = redisClient(strict.url, trusting(authority));
  await expect(without.command('PING')).rejects.toBeDefined();
  expect(without.isUp).toBe(false);
});
