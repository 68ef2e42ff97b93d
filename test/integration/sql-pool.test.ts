import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { PostgresPool } from '../../sidecar/src/adapters/sql-pool.ts';
import { SqlError } from '../../sidecar/src/core/sql.ts';
import { makeAuthority, startPostgres, type Authority, type PostgresServer } from '../kit/index.ts';
import { withPostgres } from '../kit/names.ts';
import { eventually } from './support/eventually.ts';

/** So long that a busy machine does not matter beside it. */
const PATIENT_MS = 60_000;

let postgres: PostgresServer;
let pool: PostgresPool;
beforeAll(async () => {
  postgres = await startPostgres();
}, 60_000);
afterAll(() => postgres.stop());
beforeEach(() => {
  pool = made();
});

function made(options: { url?: string; most?: number; mostWaiting?: number } = {}): PostgresPool {
  const { url = postgres.url, most = 2, mostWaiting = 2 } = options;
  const created = new PostgresPool({ url, applicationName: 'pool under test', most, mostWaiting });
  onTestFinished(() => created.close(1000));
  return created;
}

/** One statement on a connection of its own. */
const ask = (text: string, timeoutMs = PATIENT_MS, on = pool): Promise<string | null | undefined> =>
  on.use(async (connection) => (await connection.send({ text })).rows[0]?.[0], { timeoutMs });

async function failure(work: Promise<unknown>): Promise<SqlError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SqlError)) throw new Error(`expected a SqlError, found ${String(error)}`);
  return error;
}

/** How many statements of the pool run on the server. */
const running = (): Promise<number> =>
  withPostgres(postgres.url, async (client) => {
    const { rows } = await client.query<{ n: number }>(
      "select count(*)::int as n from pg_stat_activity where application_name = 'pool under test' and state = 'active'",
    );
    return rows[0]?.n ?? 0;
  });

describe('a statement', () => {
  it('answers what Postgres prints, with the types', async () => {
    const answer = await pool.use(
      (connection) =>
        connection.send({
          text: 'select $1::int8 as big, null as none, $2::numeric',
          values: ['9007199254740993', '1.10'],
        }),
      { timeoutMs: PATIENT_MS },
    );
    expect(answer).toMatchObject({
      columns: [
        { name: 'big', type: 20 },
        { name: 'none', type: 25 },
        { name: 'numeric', type: 1700 },
      ],
      rows: [['9007199254740993', null, '1.10']],
    });
  });

  it('goes out with those behind it, and they answer in order', async () => {
    const answers = await pool.use(
      (connection) =>
        Promise.all([
          connection.send({ text: 'begin; select 1' }),
          connection.send({ text: 'select $1', values: ["'; drop table x; --"] }),
          connection.send({ text: 'commit' }),
        ]),
      { timeoutMs: PATIENT_MS },
    );
    expect(answers.map(({ rows }) => rows)).toEqual([[['1']], [["'; drop table x; --"]], []]);
  });

  it('that comes again is planned once for each connection, and again where the plan is gone', async () => {
    const planned = "select count(*) from pg_prepared_statements where statement like '%$1 as planned%'";
    const again = (): Promise<unknown> =>
      pool.use((connection) => connection.send({ text: 'select $1 as planned', values: ['x'], again: true }), {
        timeoutMs: PATIENT_MS,
      });
    await again();
    await again();
    expect(await ask(planned)).toBe('1');
    // As a pooler in transaction mode may do it.
    await ask('deallocate all');
    expect(await failure(again())).toMatchObject({ why: 'unavailable', code: '26000' });
    expect(await again()).toMatchObject({ rows: [['x']] });
    expect(await ask(planned)).toBe('0');
  });

  it('with a longer answer than allowed is refused, and the connection goes on', async () => {
    const pid = await ask('select pg_backend_pid()');
    const large = pool.use(
      (connection) =>
        connection.send({ text: "select repeat('x', 1000) from generate_series(1, 1000)", maxBytes: 5000 }),
      { timeoutMs: PATIENT_MS },
    );
    expect((await failure(large)).why).toBe('too-large');
    expect(await ask('select pg_backend_pid()')).toBe(pid);
  });

  it('that cannot be done says so with its SQLSTATE', async () => {
    const { why, code, message } = await failure(ask('select 1/0'));
    expect({ why, code, message }).toEqual({ why: 'error', code: '22012', message: 'division by zero' });
  });
});

describe('a connection', () => {
  it('is kept, but not with a transaction left open or where it led wrong', async () => {
    const pid = await ask('select pg_backend_pid()');
    expect(await ask('select pg_backend_pid()')).toBe(pid);
    await ask('begin');
    const other = await ask('select pg_backend_pid()');
    expect(other).not.toBe(pid);
    await pool.use(async (connection) => connection.discard(), { timeoutMs: PATIENT_MS });
    expect(await ask('select pg_backend_pid()')).not.toBe(other);
  });

  it('is had by so many, others wait, and more are refused at once', async () => {
    const release = Promise.withResolvers<void>();
    const hold = (): Promise<void> => pool.use(() => release.promise, { timeoutMs: PATIENT_MS });
    const held = [hold(), hold()];
    const waiting = [ask('select 1'), ask('select 2')];
    expect(pool).toMatchObject({ inUse: 2, waiting: 2 });
    expect(await failure(ask('select 3'))).toMatchObject({ why: 'busy', sent: false });
    release.resolve();
    await Promise.all(held);
    expect(await Promise.all(waiting)).toEqual(['1', '2']);
    expect(pool).toMatchObject({ inUse: 0, waiting: 0 });
  });

  it('that does not become free in time is not waited for any longer', async () => {
    const release = Promise.withResolvers<void>();
    const held = [1, 2].map(() => pool.use(() => release.promise, { timeoutMs: PATIENT_MS }));
    expect(await failure(ask('select 1', 30))).toMatchObject({ why: 'busy', sent: false });
    expect(pool.waiting).toBe(0);
    release.resolve();
    await Promise.all(held);
    expect(await ask('select 1')).toBe('1');
  });
});

describe('whatever takes too long', () => {
  it('is ended on the server too', async () => {
    // A connection that is there: to make one takes its time as well.
    expect(await ask('select 1')).toBe('1');
    expect(await failure(ask('select pg_sleep(600)', 100))).toMatchObject({ why: 'timeout', sent: true });
    await eventually(async () => expect(await running()).toBe(0));
    expect(await ask('select 1')).toBe('1');
  });

  it('is ended as soon as the caller gives up', async () => {
    const giveUp = new AbortController();
    const slow = pool.use((connection) => connection.send({ text: 'select pg_sleep(600)' }), {
      timeoutMs: 60_000,
      signal: giveUp.signal,
    });
    await eventually(async () => expect(await running()).toBe(1));
    giveUp.abort();
    expect(await failure(slow)).toMatchObject({ why: 'timeout' });
    await eventually(async () => expect(await running()).toBe(0));
    expect(await failure(pool.use(async () => 1, { timeoutMs: PATIENT_MS, signal: giveUp.signal }))).toMatchObject({
      why: 'timeout',
    });
  });

  it('where Postgres does not answer a new connection', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    onTestFinished(() => void silent.close());
    const url = new URL(postgres.url);
    url.port = String((silent.address() as AddressInfo).port);
    const error = await failure(ask('select 1', 100, made({ url: url.href })));
    expect(error).toMatchObject({ why: 'unavailable', sent: false });
  });
});

it('speaks TLS as its URL says, also to end what takes too long, and to nobody whom it does not trust', async () => {
  const [authority, stranger] = [await makeAuthority('ours'), await makeAuthority('theirs')];
  onTestFinished(async () => void (await Promise.all([authority.remove(), stranger.remove()])));
  const { certFile, keyFile } = await authority.issue('server');
  const own = await startPostgres({ flags: { ssl: 'on', ssl_cert_file: certFile, ssl_key_file: keyFile } });
  onTestFinished(() => own.stop());
  const trusting = ({ caFile }: Authority): string =>
    `${own.url}?sslmode=verify-full&sslrootcert=${encodeURIComponent(caFile)}`;
  const secure = made({ url: trusting(authority) });
  expect(await ask('select ssl from pg_stat_ssl where pid = pg_backend_pid()', PATIENT_MS, secure)).toBe('t');
  expect(await failure(ask('select pg_sleep(600)', 100, secure))).toMatchObject({ why: 'timeout' });
  const others = "select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()";
  await eventually(async () => expect(await ask(others, PATIENT_MS, secure)).toBe('0'));
  const { why, message } = await failure(ask('select 1', PATIENT_MS, made({ url: trusting(stranger) })));
  expect([why, message]).toEqual(['unavailable', expect.stringContaining('certificate')]);
});

describe('Postgres', () => {
  it('away is told at once, without the password, and found again', async () => {
    const own = await startPostgres();
    onTestFinished(() => own.stop());
    const { password } = new URL(own.url);
    const there = made({ url: own.url });
    expect(await ask('select 1', PATIENT_MS, there)).toBe('1');
    await own.kill();
    const { why, message } = await failure(ask('select 1', PATIENT_MS, there));
    expect(why).toBe('unavailable');
    expect(message).not.toContain(password);
    await own.start();
    expect(await ask('select 1', PATIENT_MS, there)).toBe('1');
  });

  it('that is killed fails what is under way, and nothing else', async () => {
    const own = await startPostgres();
    onTestFinished(() => own.stop());
    const there = made({ url: own.url });
    const slow = failure(ask('select pg_sleep(600)', 60_000, there));
    await eventually(() => expect(there.inUse).toBe(1));
    await own.kill();
    expect(await slow).toMatchObject({ why: 'unavailable' });
    expect(there.inUse).toBe(0);
  });

  it('that refuses the login is no reason to wait', async () => {
    const url = new URL(postgres.url);
    url.password = 'wrong';
    expect(await failure(ask('select 1', PATIENT_MS, made({ url: url.href })))).toMatchObject({
      why: 'error',
      code: '28P01',
    });
  });
});

it('closes once the work is done, and takes no more', async () => {
  const release = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const held = pool.use(() => (begun.resolve(), release.promise), { timeoutMs: PATIENT_MS });
  await begun.promise;
  const closing = pool.close(5000);
  expect(await failure(ask('select 1'))).toMatchObject({ why: 'unavailable', sent: false });
  release.resolve();
  await held;
  await closing;
});
