import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SqlLoader } from '../../sidecar/src/adapters/sql-loader.ts';
import type { PostgresPool } from '../../sidecar/src/adapters/sql-pool.ts';
import type { ServerIdentity } from '../../sidecar/src/core/server-identity.ts';
import { startPostgresPair, type PostgresPair } from '../kit/index.ts';
import { withPostgres } from '../kit/names.ts';
import { identityOf, loadBy, readerPool, sqlLoader, textOf } from './support/sql-loader.ts';

// Which bounds a load gives, on a primary, on a standby, and while one becomes the other.

let pair: PostgresPair;
let primary: PostgresPool;
let standby: PostgresPool;
let server: ServerIdentity;

beforeAll(async () => {
  pair = await startPostgresPair();
  await withPostgres(pair.url, (client) =>
    client.query(`create table users (id int primary key, name text); insert into users values (1, 'Ada');
      create role reader login password 'reader'; grant select on users to reader`),
  );
  server = await identityOf(pair.url);
  await pair.caughtUp();
  primary = readerPool(pair.primary.url);
  standby = readerPool(pair.standby?.url ?? '');
}, 120_000);
afterAll(async () => {
  await primary?.close(1000);
  await standby?.close(1000);
  await pair?.stop();
});

const loaderAt = (
  pool: PostgresPool,
  more: { timeout?: string; followed?: Partial<ServerIdentity> } = {},
): SqlLoader => {
  const { followed = {}, ...timeout } = more;
  const sql = 'select id, name from users where id = $1';
  return sqlLoader({ sql, ...timeout }, { pool, followed: () => ({ ...server, ...followed }) });
};

describe('bounds', () => {
  it('[I5] on the primary: only how new the value may be', async () => {
    const loaded = await loadBy(loaderAt(primary), '1');
    expect(loaded).toMatchObject({ kind: 'value', sourceLsn: undefined, loadedAt: expect.any(Number) });
  });

  it('[I5] on a standby: how old, and how new', async () => {
    const loaded = await loadBy(loaderAt(standby), '1');
    if (loaded.kind !== 'value') throw new Error(JSON.stringify(loaded));
    expect(loaded.sourceLsn).toBeGreaterThan(0);
    expect(loaded.loadedAt).toBeGreaterThanOrEqual(loaded.sourceLsn ?? Infinity);
  });

  it('[I5] a standby that is behind the last known change is asked again until it is there', async () => {
    pair.cutReplication();
    const [{ lsn }] = await withPostgres(pair.url, async (client) => {
      await client.query("update users set name = 'Ada L.' where id = 1");
      return (await client.query<{ lsn: string }>("select (pg_current_wal_insert_lsn() - '0/0')::text as lsn"))
        .rows as [{ lsn: string }];
    });
    expect(await loadBy(loaderAt(standby), '1')).toMatchObject({ kind: 'value' });
    const short = loaderAt(standby, { timeout: '200ms' });
    expect(await loadBy(short, '1', Number(lsn))).toMatchObject({ kind: 'failed', why: 'timeout' });
    const patient = loadBy(loaderAt(standby), '1', Number(lsn));
    pair.healReplication();
    const loaded = await patient;
    expect(textOf(loaded)).toContain('Ada L.');
  });

  it('[I5] [I10] of another server than the stream comes from are worth nothing', async () => {
    for (const at of [primary, standby]) {
      const other = await loadBy(loaderAt(at, { followed: { systemId: 1n } }), '1');
      expect(other).toMatchObject({
        why: 'unavailable',
        detail: expect.stringContaining('leads to the wrong server: it is system'),
      });
      const later = await loadBy(loaderAt(at, { followed: { timeline: 2 } }), '1');
      expect(later).toMatchObject({
        why: 'unavailable',
        detail: expect.stringContaining('it is on timeline 1, but the stream comes from timeline 2'),
      });
      // Not even that there is no such row.
      expect(await loadBy(loaderAt(at, { followed: { timeline: 2 } }), 'abc')).toMatchObject({
        why: 'unavailable',
      });
    }
  });

  it('[I5] and while nobody knows where the stream comes from: only for who is given it unstored', async () => {
    const loader = loaderAt(primary, { followed: { systemId: undefined, timeline: undefined } });
    expect(await loadBy(loader, '1')).toMatchObject({ why: 'unavailable', detail: expect.stringContaining('unknown') });
    const values = new Map([['key', '1']]);
    expect(await loader.load({ address: '1', values, atLeast: undefined, isPassed: true })).toMatchObject({
      kind: 'value',
    });
    const other = loaderAt(primary, { followed: { systemId: 1n } });
    expect(await other.load({ address: '1', values, atLeast: undefined, isPassed: true })).toMatchObject({
      why: 'unavailable',
    });
  });

  it('[I5] [I10] a promotion is seen on the connections that outlive it, at once', async () => {
    const onPrimary = loaderAt(primary);
    const onStandby = loaderAt(standby);
    for (const loader of [onPrimary, onStandby]) expect(await loadBy(loader, '1')).toMatchObject({ kind: 'value' });
    await pair.promote({ oldPrimary: 'leave' });
    // The stream does not know yet: the old primary lives on behind its back, and the new one is refused.
    expect(await loadBy(onPrimary, '1')).toMatchObject({ kind: 'value' });
    expect(await loadBy(onStandby, '1')).toMatchObject({
      kind: 'failed',
      detail: expect.stringContaining('it is on timeline 2'),
    });
    server = { ...server, timeline: 2 };
    expect(await loadBy(onPrimary, '1')).toMatchObject({
      kind: 'failed',
      detail: expect.stringContaining('it is on timeline 1'),
    });
    expect(await loadBy(onStandby, '1')).toMatchObject({ kind: 'value', sourceLsn: undefined });
  });
});
