import { parseLsn } from '@tidemark/proto';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { LaggingSidecar } from './support/lagging.ts';
import { showLogsOnFailure, useStack } from './support/stack.ts';
import { metric, write } from './support/write.ts';
import { startEndpoint, writingOptions } from './support/writing.ts';

// Writes that are in Postgres when they are answered, over two sidecars and a third whose stream lags as long as a test wants.

const endpoint = await startEndpoint(() => used.stack);
afterAll(() => void endpoint.server.close());
const used = useStack(writingOptions(endpoint.url));
const onlyIfCached = { 'cache-control': 'only-if-cached' };
const atL1 = { status: 200, cacheStatus: expect.stringContaining('; hit;') };

let lagging: LaggingSidecar;
beforeAll(async () => {
  lagging = await LaggingSidecar.start(used.stack);
});
afterAll(() => lagging?.stop());
beforeEach(() => showLogsOnFailure(used.stack));

const url = (sidecar: number): string => used.stack.sidecars[sidecar]?.url ?? '';
/** Until the answer is called, or the test has ended. */
const holdBack = (): (() => void) => {
  const letFlow = lagging.holdBack();
  onTestFinished(letFlow);
  return letFlow;
};
/** Until the sidecar whose stream lags has applied a position. */
const applied = (lsn: string): Promise<void> =>
  eventually(async () => {
    const { cacheStatus } = await lagging.app.get('users', 'nobody', { ...onlyIfCached, 'tidemark-min-lsn': lsn });
    expect(cacheStatus).toBe('tidemark; fwd=miss');
  });
/** Through the sidecar whose stream lags. */
const LAGGING = 2;
const put = (sidecar: number, [namespace, key]: readonly [string, string], body: string, headers = {}) =>
  write(url(sidecar), [namespace, key], body, headers);
const fate = async (name: string): Promise<number> => {
  const text = await (await fetch(`${used.stack.sidecars[LAGGING]?.admin}/metrics`)).text();
  return Number(new RegExp(`tidemark_own_values_total{fate="${name}"} (\\d+)`).exec(text)?.[1] ?? 0);
};

describe('a value that was written', () => {
  it('[I18] is served at once, stays when its own change is applied, and is shared only then', async () => {
    const [, there] = used.apps as [App, App];
    const kept = await fate('kept');
    const letFlow = holdBack();
    const written = await put(LAGGING, ['users', '1'], '{"name":"Ada"}');
    expect(written).toMatchObject({ status: 201, lsn: expect.stringMatching(/^\d+\/[\dA-F]+$/) });
    const found = await lagging.app.get('users', '1', onlyIfCached);
    expect(found).toMatchObject({ ...atL1, body: '{"name":"Ada"}' });
    expect(parseLsn(found.lsn ?? '')).toBeLessThan(parseLsn(written.lsn ?? ''));
    // The others have heard of the change, and would find nothing newer in Redis.
    expect((await there.get('users', '1', { ...onlyIfCached, 'tidemark-min-lsn': written.lsn ?? '' })).status).toBe(
      404,
    );
    letFlow();
    await eventually(async () => expect(await fate('kept')).toBe(kept + 1));
    expect(await lagging.app.get('users', '1', onlyIfCached)).toMatchObject({ ...atL1, body: '{"name":"Ada"}' });
    await eventually(async () =>
      expect(await there.get('users', '1', onlyIfCached)).toMatchObject({ body: '{"name":"Ada"}' }),
    );
    expect(await put(LAGGING, ['users', '1'], '{"name":"Bob"}')).toMatchObject({ status: 204 });
  });

  it('[I18] falls with any other change of its names, before or after its own', async () => {
    const letFlow = holdBack();
    await put(LAGGING, ['users', '2'], '"mine"');
    await used.stack.sql(`update users set doc = '"theirs"' where id = '2'`);
    await used.stack.sql(`insert into users values ('3', '"theirs"')`);
    await put(LAGGING, ['users', '3'], '"mine"');
    await put(LAGGING, ['users', '3b'], '"v1"');
    await put(LAGGING, ['users', '3b'], '"v2"');
    for (const key of ['2', '3']) expect((await lagging.app.get('users', key)).body).toBe('"mine"');
    letFlow();
    for (const key of ['2', '3'])
      await eventually(async () => expect((await lagging.app.get('users', key, onlyIfCached)).status).toBe(404));
    // Of our own writes of a key the later one has seen the earlier one.
    expect((await lagging.app.get('users', '3b', onlyIfCached)).body).toBe('"v2"');
  });

  it('[I18] takes the place of what was there, and of what was loaded before it', async () => {
    const [app] = used.apps as [App];
    const { lsn = '' } = await put(0, ['users', '4'], '"v1"');
    await applied(lsn);
    const before = await lagging.app.get('users', '4', { 'cache-control': 'no-cache' });
    const letFlow = holdBack();
    await put(LAGGING, ['users', '4'], '"v2"');
    expect((await lagging.app.put('users', '4', '"v1"', { lease: before.lease })).status).toBe(409);
    expect((await lagging.app.get('users', '4')).body).toBe('"v2"');
    letFlow();
    await eventually(async () => expect((await app.get('users', '4', onlyIfCached)).body).toBe('"v2"'));
  });

  it('[I18] is absent after a delete', async () => {
    await put(LAGGING, ['users', '5'], '"v1"');
    const letFlow = holdBack();
    expect(await write(url(LAGGING), ['users', '5'])).toMatchObject({ status: 204 });
    expect(await lagging.app.get('users', '5')).toMatchObject({
      status: 404,
      cacheStatus: expect.stringContaining('detail=negative'),
    });
    letFlow();
    expect(await write(url(LAGGING), ['users', '5'])).toMatchObject({ status: 404, problem: 'nothing-written' });
  });

  it('[I18] is what load.sql makes of it where there is such SQL, joined rows included', async () => {
    await used.stack.sql(`insert into orders values (1, 'a', 10), (2, 'a', 5)`);
    const [{ lsn } = { lsn: '' }] = await used.stack.sql<{ lsn: string }>(
      'select pg_current_wal_insert_lsn()::text as lsn',
    );
    await applied(lsn);
    const letFlow = holdBack();
    await put(LAGGING, ['accounts', 'a'], 'Ada');
    expect(await lagging.app.get('accounts', 'a', onlyIfCached)).toMatchObject({
      ...atL1,
      body: '{"id":"a","name":"Ada","total":15}',
    });
    await used.stack.sql(`insert into orders values (3, 'a', 1)`);
    letFlow();
    await eventually(async () =>
      expect((await lagging.app.get('accounts', 'a')).body).toBe('{"id":"a","name":"Ada","total":16}'),
    );
    await write(url(LAGGING), ['accounts', 'a']);
    expect((await lagging.app.get('accounts', 'a', onlyIfCached)).cacheStatus).toContain('negative');
  });

  it('[I18] has the tags that it was sent with, and survives that its own change names one of them', async () => {
    const [app] = used.apps as [App];
    const bytes = Uint8Array.from([0, 1, 0xff, 0x5c, 0x22]);
    const headers = { 'content-type': 'image/x', 'surrogate-key': 'file:f a%22b%5C' };
    const { status, lsn = '' } = await write(url(LAGGING), ['files', 'f'], bytes, headers);
    expect(status).toBe(204);
    const rows = await used.stack.sql(`select encode(content, 'hex') as hex, type, tags from files where id = 'f'`);
    expect(rows).toEqual([{ hex: '0001ff5c22', type: 'image/x', tags: ['file:f', 'a"b\\'] }]);
    await eventually(async () =>
      expect((await lagging.app.get('files', 'f', { ...onlyIfCached, 'tidemark-min-lsn': lsn })).status).toBe(200),
    );
    await used.stack.sql(`update files set type = 'image/y' where id = 'f'`);
    await eventually(async () => expect((await lagging.app.get('files', 'f', onlyIfCached)).status).toBe(404));
    await eventually(async () => expect((await app.get('files', 'f', onlyIfCached)).status).toBe(404));
  });

  it('[I18] by the application itself is served at once, and stays if the application left the mark', async () => {
    const letFlow = holdBack();
    const lsns = new Map<string, string>();
    for (const key of ['marked', 'unmarked']) {
      const { status, lsn = '' } = await put(LAGGING, ['remote', key], 'v1');
      expect([status, lsn]).toEqual([204, expect.stringMatching(/^\d+\/[\dA-F]+$/)]);
      expect((await lagging.app.get('remote', key, onlyIfCached)).body).toBe('v1');
      lsns.set(key, lsn);
    }
    letFlow();
    const later = { ...onlyIfCached, 'tidemark-min-lsn': lsns.get('unmarked') ?? '' };
    await eventually(async () => expect((await lagging.app.get('remote', 'marked', later)).body).toBe('v1'));
    expect((await lagging.app.get('remote', 'unmarked', onlyIfCached)).status).toBe(404);
  });

  it('[I14] [I18] is known to the session that wrote it, whichever sidecar it asks', async () => {
    const { lsn = '' } = await put(0, ['users', '6'], '"v1"');
    // Its change could otherwise evict it later.
    await applied(lsn);
    const kept = { body: '"v1"', cacheStatus: expect.stringContaining('detail=l1') };
    await eventually(async () => expect(await lagging.app.get('users', '6', onlyIfCached)).toMatchObject(kept));
    const letFlow = holdBack();
    const { session = '' } = await put(0, ['users', '6'], '"v2"', { 'tidemark-session': 'new' });
    expect((await lagging.app.get('users', '6', onlyIfCached)).body).toBe('"v1"');
    const of = { ...onlyIfCached, 'tidemark-session': session };
    expect((await lagging.app.get('users', '6', of)).cacheStatus).toContain('detail=behind');
    letFlow();
    await eventually(async () => expect((await lagging.app.get('users', '6', of)).body).toBe('"v2"'));
  });
});

describe('a write that Postgres does not do', () => {
  it.each<[string, readonly [string, string], string, object]>([
    ['no JSON', ['users', 'x'], '{"a"', { status: 422, problem: 'write-invalid', sqlState: '22P02' }],
    ['a date that is none', ['users', 'x'], '{"born":"2020-13-99 secret"}', { status: 422, sqlState: '22007' }],
    [
      'what a function refuses',
      ['notes', 'note:x'],
      'refuse',
      { status: 422, sqlState: 'P0001', detail: 'notes may not say that' },
    ],
    [
      'what COMMIT refuses',
      ['notes', 'note:x'],
      'later',
      { status: 409, problem: 'write-conflict', sqlState: '23514' },
    ],
    ['no row', ['renamed', 'nobody'], 'x', { status: 404, problem: 'nothing-written' }],
    ['a key of another shape', ['notes', 'other'], 'x', { status: 422, problem: 'write-invalid' }],
    ['a namespace that takes none', ['nowhere', 'x'], 'x', { status: 404, problem: 'unknown-namespace' }],
  ])('%s', async (_, [namespace, key], body, expected) => {
    const answer = await put(0, [namespace, key], body);
    expect(answer).toMatchObject(expected);
    expect(JSON.stringify(answer)).not.toMatch(/secret|insert into/);
    expect((await used.apps[0]?.get(namespace, key, onlyIfCached))?.status).toBe(404);
  });

  it('a constraint says its name, and nothing that others have stored', async () => {
    await put(0, ['users', 'u1'], '{"email":"ada@example.com"}');
    const answer = await put(0, ['users', 'u2'], '{"email":"ada@example.com"}');
    expect(answer).toMatchObject({ status: 409, problem: 'write-conflict', sqlState: '23505', lsn: undefined });
    expect(answer.detail).toBe('duplicate key value violates unique constraint "users_email_key"');
  });

  it('a body that is no text, where text is wanted', async () => {
    const answer = await write(url(0), ['users', 'x'], Uint8Array.from([0xff]));
    expect(answer).toMatchObject({
      status: 422,
      problem: 'write-invalid',
      detail: expect.stringContaining('no UTF-8'),
    });
  });

  it('what others hold locked for too long, and nothing is written later', async () => {
    await used.stack.sql(`insert into notes values ('held', 'v1')`);
    const other = new pg.Client({ connectionString: used.stack.postgres });
    await other.connect();
    await other.query(`begin; update notes set note = 'theirs' where id = 'held'`);
    // However long the machine takes to connect: that would not be what others hold locked.
    await eventually(async () =>
      expect(await put(0, ['hasty', 'held'], 'mine')).toMatchObject({ status: 504, problem: 'timeout' }),
    );
    await other.query('commit');
    await other.end();
    expect(await used.stack.sql(`select note from notes where id = 'held'`)).toEqual([{ note: 'theirs' }]);
  });

  it('header fields are parameters, whatever they hold', async () => {
    const who = `'); drop table notes; --`;
    expect((await put(0, ['notes', 'note:h'], 'x', { 'x-user': who })).status).toBe(204);
    expect(await used.stack.sql(`select who from notes where id = 'h'`)).toEqual([{ who }]);
    expect((await put(0, ['notes', 'note:h2'], 'x')).status).toBe(204);
    expect(await used.stack.sql(`select who from notes where id = 'h2'`)).toEqual([{ who: null }]);
  });

  it('methods that the configuration does not have', async () => {
    expect(await write(url(0), ['notes', 'note:h'])).toMatchObject({ status: 405, problem: 'method-not-allowed' });
  });
});

it('counts writes by their end', async () => {
  const admin = used.stack.sidecars[0]?.admin ?? '';
  expect(await metric(admin, 'tidemark_writes_total')).toBeGreaterThan(10);
  expect(await metric(admin, 'tidemark_write_connections_max')).toBe(2);
});
