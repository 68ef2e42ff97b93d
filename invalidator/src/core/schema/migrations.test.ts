import { describe, expect, it } from 'vitest';
import { MIGRATIONS, migrationScript, missingMigrations } from './migrations.ts';

const migration = (version: number) => ({ version, name: `m${version}`, sql: `select ${version};` });
const three = [1, 2, 3].map(migration);

describe('what is left to be done', () => {
  it.each([
    [[], [1, 2, 3]],
    [[1], [2, 3]],
    [[1, 3], [2]],
    [[3, 2, 1], []],
  ])('after %j: %j', (applied, left) => {
    expect(missingMigrations(applied, three).map(({ version }) => version)).toEqual(left);
  });

  it('is not known where a newer program was', () => {
    expect(() => missingMigrations([1, 2, 3, 5], three)).toThrow(
      'found version 5 of schema tidemark, expected at most 3',
    );
  });
});

it('versions are counted from 1, each once, in their order', () => {
  expect(MIGRATIONS.map(({ version }) => version)).toEqual(MIGRATIONS.map((_, i) => i + 1));
});

it('the script does all of it at once or nothing', () => {
  const script = migrationScript([{ version: 1, name: "it's", sql: 'select 1;' }]);
  expect(script).toMatch(
    /^begin;\n[\s\S]*\nselect 1;\n[\s\S]*values \(1, 'it''s'\) on conflict do nothing;\n\ncommit;\n$/,
  );
});
