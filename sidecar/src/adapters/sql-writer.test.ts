import { parseConfig, type WriteThroughConfig } from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import type { Namespace } from '../core/namespace.ts';
import { SqlRead } from '../core/sql-read.ts';
import { SqlError, whileWorking, type SqlPool, type SqlRows, type SqlStatement } from '../core/sql.ts';
import type { Executed } from '../core/write-through.ts';
import { SqlWriter } from './sql-writer.ts';

// What becomes of a write, by where it fails. That Postgres fails so is shown by test/integration/write-through*.test.ts.

type Step = 'begin' | 'write' | 'mark' | 'read' | 'describe' | 'commit' | 'rollback' | 'position';

const rows = (more: Partial<SqlRows> = {}): SqlRows => ({ columns: [], rows: [], command: '', count: 1, ...more });
const error = (code: string): SqlError =>
  whileWorking(Object.assign(new Error('because'), { code, severity: 'ERROR' }));
const lost = new SqlError('unavailable', 'the connection to Postgres was lost: ECONNRESET', { sent: true });

const usual: Readonly<Record<Step, SqlRows>> = {
  begin: rows({ rows: [[...Array.from({ length: 7 }, () => null), '2026-01-01', '42', '1']] }),
  write: rows({ columns: [{ name: 'created', type: 16 }], rows: [['t']] }),
  mark: rows(),
  read: rows({ columns: [{ name: 'of_type', type: 25 }], rows: [['Ada', '3', null]] }),
  describe: rows({ columns: [{ name: 'name', type: 25 }] }),
  commit: rows({ command: 'COMMIT' }),
  rollback: rows({ command: 'ROLLBACK' }),
  position: rows({ rows: [['0/1234', '1']] }),
};

function stepOf(text: string): Step {
  if (text.startsWith('begin')) return 'begin';
  if (text.includes('pg_logical_emit_message')) return 'mark';
  if (text.startsWith('select pg_current_wal')) return 'position';
  if (text === 'commit' || text === 'rollback') return text;
  if (text.includes('limit 0')) return 'describe';
  return text.startsWith('insert') ? 'write' : 'read';
}

/** Runs a put; each step answers as usual, or as its list says, one after the other. */
async function run(
  answers: Partial<Record<Step, (SqlRows | Error)[]>>,
  options: { loaded?: boolean; systemId?: bigint; timeline?: number; busy?: Error; body?: Uint8Array } = {},
): Promise<{ ended: Executed; sent: Step[]; discarded: number; statements: SqlStatement[] }> {
  const sent: Step[] = [];
  const statements: SqlStatement[] = [];
  let discarded = 0;
  const pool: SqlPool = {
    ...{ most: 1, inUse: 0, waiting: 0 },
    close: () => Promise.resolve(),
    use: (work) => {
      if (options.busy !== undefined) return Promise.reject(options.busy);
      return work({
        leftMs: () => 100,
        discard: () => void (discarded += 1),
        send: (statement) => {
          const step = stepOf(statement.text);
          sent.push(step);
          statements.push(statement);
          const answer = answers[step]?.shift() ?? usual[step];
          return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
        },
      });
    },
  };
  const sql = 'insert into users values ($1, $2, $3)';
  const writeThrough = { put: { sql, params: ['{key}', '{body}', '{tags}'] } };
  const namespace = { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }], writeThrough };
  const parsed = parseConfig({ sources: { main: { topic: 't' } }, namespaces: { users: namespace } });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  const config = parsed.config.namespaces['users']?.writeThrough as WriteThroughConfig;
  const read = new SqlRead({
    config: { key: '{key}', sql: 'select name', params: [], rows: 'one', contentType: undefined, tags: [] },
    maxBytes: 100,
    bytesOf: (text, encoding) => Buffer.from(text, encoding),
  });
  const keep = options.loaded === true ? { loaded: [read] } : 'written';
  const { systemId = 42n, timeline = 1 } = options;
  const followed = () => ({ systemId, timeline });
  const writer = new SqlWriter({ config, pool, keep, followed });
  const { signal } = new AbortController();
  const request = { namespace: {} as Namespace, key: 'k', headers: {}, signal, mark: 'write:t', maxAgeMs: undefined };
  const value = { body: options.body ?? Buffer.from('Ada'), contentType: 'text/x', tags: ['a"\\'] };
  const ended = await writer.put!({ ...request, ...value });
  return { ended, sent, discarded, statements };
}

const transaction: readonly Step[] = ['begin', 'write', 'mark', 'commit', 'position'];

it('a write is one transaction with its mark, and its position is asked for behind it', async () => {
  const { ended, sent, statements } = await run({});
  expect(sent).toEqual(transaction);
  expect(ended).toEqual({
    kind: 'committed',
    created: true,
    lsn: 0x1234,
    timeline: 1,
    value: { kind: 'value', body: Buffer.from('Ada'), contentType: 'text/x', tags: ['a"\\'] },
  });
  expect(statements[1]?.values).toEqual(['k', 'Ada', '{"a\\"\\\\"}']);
  expect(statements[2]?.text).toContain("'tidemark.mark', 'write:t'");
});

it('what is kept is read before COMMIT, once it is known what the statement answers', async () => {
  const { ended, sent } = await run({}, { loaded: true });
  expect(sent).toEqual(['describe', 'begin', 'write', 'mark', 'read', 'commit', 'position']);
  expect(ended).toMatchObject({ value: { body: Buffer.from('Ada'), contentType: 'text/plain; charset=utf-8' } });
});

describe('is tried again', () => {
  it.each(['40001', '40P01'])('after %s, at COMMIT too', async (code) => {
    const { ended, sent } = await run({ write: [error(code)], commit: [error(code)] });
    expect(ended.kind).toBe('committed');
    expect(sent).toEqual([...(['begin', 'write', 'mark', 'rollback', ...transaction, ...transaction] as const)]);
  });

  it('so often and no more', async () => {
    const { ended, sent } = await run({ write: Array.from({ length: 9 }, () => error('40001')) });
    expect(ended).toMatchObject({ kind: 'failed', why: 'unavailable', sqlState: '40001' });
    expect(sent.filter((step) => step === 'write')).toHaveLength(4);
  });

  it('where what is read has another shape than before', async () => {
    const { ended, sent } = await run({ read: [error('42601')] }, { loaded: true });
    expect(ended.kind).toBe('committed');
    expect(sent.filter((step) => step === 'describe')).toHaveLength(2);
  });
});

describe('nothing was written', () => {
  it.each<[string, Parameters<typeof run>[0], object]>([
    ['a constraint', { write: [error('23505')] }, { why: 'conflict', sqlState: '23505' }],
    ['a deferred one', { commit: [error('23514')] }, { why: 'conflict', sqlState: '23514' }],
    ['no such value', { write: [error('22P02')] }, { why: 'invalid' }],
    ['an exception of a function', { write: [error('P0001')] }, { why: 'invalid' }],
    ['no such table', { write: [error('42P01')] }, { why: 'misconfigured' }],
    ['too late', { write: [error('57014')] }, { why: 'timeout' }],
    ['a connection that is lost', { write: [lost], rollback: [lost] }, { why: 'unavailable' }],
    ['no row', { write: [rows({ count: 0 })] }, { kind: 'nothing' }],
    ['undone by the statement', { commit: [rows({ command: 'ROLLBACK' })] }, { why: 'misconfigured' }],
  ])('%s', async (_, answers, expected) => {
    expect((await run(answers)).ended).toMatchObject(expected);
  });

  it('on a server that others may read only, or that nobody follows; the next one gets another connection', async () => {
    const standby = await run({ begin: [error('0A000')], write: [error('25006')] });
    expect([standby.ended, standby.discarded]).toEqual([expect.objectContaining({ why: 'unavailable' }), 1]);
    const foreign = await run({}, { systemId: 43n });
    expect(foreign.ended).toMatchObject({ why: 'misconfigured', detail: expect.stringContaining('it is system 42') });
    expect([foreign.sent.at(-1), foreign.discarded]).toEqual(['rollback', 1]);
    const replaced = await run({}, { timeline: 2 });
    expect(replaced.ended).toMatchObject({
      why: 'unavailable',
      detail: expect.stringContaining('it is on timeline 1'),
    });
    expect([replaced.sent.at(-1), replaced.discarded]).toEqual(['rollback', 1]);
  });

  it('but a server that was promoted, of which the stream has not heard, is written to', async () => {
    expect((await run({}, { timeline: -1 })).ended).toMatchObject({ kind: 'committed', timeline: 1 });
  });

  it('where no connection becomes free', async () => {
    const busy = new SqlError('busy', 'all 2 connections work', { sent: false });
    expect((await run({}, { busy })).ended).toMatchObject({ why: 'busy' });
  });

  it('with a body that is no text', async () => {
    expect(await run({}, { body: Uint8Array.of(0xff) })).toMatchObject({ ended: { why: 'invalid' }, sent: [] });
  });
});

describe('nobody knows', () => {
  it.each<[string, SqlError]>([
    ['a connection that is lost', lost],
    ['a server that stops', error('57P01')],
    ['an answer that is late', new SqlError('timeout', 'no answer within 100 ms', { sent: true })],
  ])('whether it was committed: %s', async (_, failure) => {
    const { ended, sent } = await run({ commit: [failure] });
    expect(ended).toMatchObject({ kind: 'failed', why: 'unknown' });
    expect(sent.filter((step) => step === 'write')).toHaveLength(1);
  });

  it('whether it stands alone, because its transaction did not begin', async () => {
    expect((await run({ begin: [error('57014')] })).ended).toMatchObject({ why: 'unknown' });
  });

  it('where it was committed: the invalidator is asked', async () => {
    expect((await run({ position: [lost] })).ended).toMatchObject({
      kind: 'committed',
      lsn: 'ask',
      timeline: undefined,
    });
  });

  it('what is there, where it is too large to be kept', async () => {
    const tooLarge = new SqlError('too-large', 'the answer is larger', { sent: true });
    expect((await run({ read: [tooLarge] }, { loaded: true })).ended).toMatchObject({
      kind: 'committed',
      value: undefined,
    });
  });
});
