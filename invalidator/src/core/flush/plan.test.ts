import { encodePendingWrite, parseConfig, type PendingWrite } from '@tidemark/proto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planFlush, TooNewError, type WriteRecord } from './plan.ts';

const parsed = parseConfig({
  sources: { main: { topic: 't' }, other: { topic: 'u' } },
  namespaces: {
    items: namespace('main', { put: { sql: 'select $1' }, delete: { sql: 'select $1' } }),
    putonly: namespace('main', { put: { sql: 'select $1' } }),
    readonly: namespace('main', undefined),
    foreign: namespace('other', { put: { sql: 'select $1' } }),
  },
});
if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
const { config: document } = parsed;

function namespace(source: string, writeBehind: unknown) {
  return {
    source,
    invalidate: [{ table: 'public.t', keys: ['{id}'] }],
    ...(writeBehind !== undefined && { writeBehind }),
  };
}

function record(offset: number, write: Partial<PendingWrite> = {}): WriteRecord {
  const body = Uint8Array.of(offset);
  const value = encodePendingWrite({
    namespace: 'items',
    key: 'k',
    kind: 'put',
    contentType: '',
    tags: [],
    atMs: 0,
    body,
    ...write,
  });
  return { offset, value };
}

const plan = (records: readonly WriteRecord[], coalesces = true) =>
  planFlush(records, { document, source: 'main', coalesces });
const offsets = (records: readonly WriteRecord[], coalesces = true) =>
  plan(records, coalesces).steps.map(({ kind, record: { offset } }) => (kind === 'run' ? offset : -offset));

describe('a batch of writes', () => {
  it('[I19] runs the last of each key, in the order of these', () => {
    const records = [record(1), record(2, { key: 'l' }), record(3), record(4, { key: 'm' }), record(5, { key: 'l' })];
    expect(offsets(records)).toEqual([3, 4, 5]);
    expect(plan(records).coalesced).toBe(2);
    expect(offsets(records, false)).toEqual([1, 2, 3, 4, 5]);
  });

  it('[I19] leaves every key as if all had been run', () => {
    const writes = fc.array(fc.record({ key: fc.constantFrom('a', 'b', 'c'), kind: fc.constantFrom('put', 'delete') }));
    fc.assert(
      fc.property(writes, (given) => {
        const records = given.map((write, i) => record(i + 1, write));
        const state = (coalesces: boolean): Record<string, number | undefined> => {
          const rows: Record<string, number | undefined> = {};
          for (const step of plan(records, coalesces).steps)
            if (step.kind === 'run') rows[step.write.key] = step.write.kind === 'put' ? step.record.offset : undefined;
          return rows;
        };
        expect(state(true)).toEqual(state(false));
        const { steps, coalesced } = plan(records);
        expect(steps.length + coalesced).toBe(records.length);
      }),
    );
  });

  it('[I19] parks what no statement can be run for, and nothing else of the key', () => {
    const records = [
      record(1, { namespace: 'putonly' }),
      record(2, { namespace: 'putonly', kind: 'delete' }),
      record(3, { namespace: 'readonly' }),
      record(4, { namespace: 'gone' }),
      record(5, { namespace: 'foreign' }),
      record(6, { namespace: 'constructor' }),
      { offset: 7, value: Uint8Array.of(1, 2) },
    ];
    expect(offsets(records)).toEqual([1, -2, -3, -4, -5, -6, -7]);
    expect([...plan(records).missing]).toEqual(['putonly', 'readonly', 'gone', 'foreign', 'constructor']);
    expect(plan(records).steps.at(-1)).toMatchObject({
      write: undefined,
      why: expect.stringContaining('it is no write'),
    });
  });

  it('[I19] ends before what only a later version understands', () => {
    const later = { offset: 2, value: new TextEncoder().encode('{"version":2}\n') };
    expect(() => plan([record(1), later])).toThrow(TooNewError);
  });
});
