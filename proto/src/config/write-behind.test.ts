import { describe, expect, it } from 'vitest';
import { parseConfig } from '../config.ts';

const withWrites = (writeBehind: unknown, more: object = {}): readonly string[] => {
  const invalidate = [{ table: 'public.items', keys: ['{id}'] }];
  const result = parseConfig({
    sources: { main: { topic: 'changes' } },
    namespaces: { items: { source: 'main', invalidate, writeBehind, ...more } },
  });
  return result.ok ? [] : result.issues.map(({ path, message }) => `${path}: ${message}`);
};
const put = { sql: 'insert into items values ($1, $2)', params: ['{key}', '{body}'] };

describe('writeBehind', () => {
  it('takes a statement for put, delete or both', () => {
    expect(withWrites({ put })).toEqual([]);
    expect(withWrites({ delete: { sql: 'delete from items where id = $1' } })).toEqual([]);
    expect(withWrites({ put, delete: { sql: 'select gone($1)' }, maxPending: '1MiB' })).toEqual([]);
    expect(withWrites({})).toEqual([expect.stringContaining('found neither put nor delete')]);
  });

  it.each([
    [[], /found 0 for a statement with \$1 to \$2/],
    [['{key}', '{body}', '{at}'], /found 3 for a statement with \$1 to \$2/],
    [['{key}', '{value}'], /params\.1: found "\{value\}", expected "\{key\}"/],
  ])('refuses parameters %j', (params, message) => {
    expect(withWrites({ put: { ...put, params } })).toEqual([expect.stringMatching(message)]);
  });

  it.each(['commit', ' BEGIN', 'rollback to x', 'savepoint x', 'copy items from stdin'])(
    'refuses "%s", which would end the batch',
    (sql) => {
      expect(withWrites({ put: { sql, params: [] } })).toEqual([expect.stringContaining('neither begins nor ends')]);
    },
  );

  it('refuses a namespace that no row change evicts from', () => {
    const more = { invalidation: 'ttl_only', invalidate: [] };
    expect(withWrites({ put }, more)).toEqual([expect.stringContaining('would evict nothing')]);
  });
});
