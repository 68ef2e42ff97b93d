import { OperatorError } from '../errors.ts';
import { FLUSH_TABLES_SQL } from './flush-tables.ts';
import { PURGE_FUNCTIONS_SQL } from './purge-functions.ts';

/** One step of what Tidemark keeps in schema `tidemark`. */
export interface Migration {
  /** 1, 2, 3, … */
  readonly version: number;
  readonly name: string;
  /** Statements that may be run twice: a person may have run what `--print` shows. */
  readonly sql: string;
}

/** In their order. What was released is never changed: what has to be otherwise is another one. */
export const MIGRATIONS: readonly Migration[] = [
  { version: 1, name: 'functions that purge', sql: PURGE_FUNCTIONS_SQL },
  { version: 2, name: 'tables of writes that wait', sql: FLUSH_TABLES_SQL },
];

/** Nobody's functions are taken for those of Postgres. */
export const SEARCH_PATH_SQL = 'set local search_path = pg_catalog;';

/** The table that says which are there; it is made before the first. */
export const BEGIN_SQL = `create schema if not exists tidemark;
grant usage on schema tidemark to public;
create table if not exists tidemark.migrations (
  version int primary key, name text not null, applied_at timestamptz not null default now(), applied_by text not null default current_user);
grant select on tidemark.migrations to public;
`;

/** Both parts of the advisory lock that keeps a second migration waiting. */
export const LOCK_KEYS = "hashtext('tidemark'), hashtext('migrate')";

/**
 * What is left to be done.
 * @param applied the versions that are there
 * @throws OperatorError where the schema is newer than this program
 */
export function missingMigrations(
  applied: readonly number[],
  all: readonly Migration[] = MIGRATIONS,
): readonly Migration[] {
  const known = new Set(all.map(({ version }) => version));
  const unknown = applied.filter((version) => !known.has(version));
  if (unknown.length > 0) {
    const newest = Math.max(0, ...known);
    throw new OperatorError(
      `found version ${Math.max(...unknown)} of schema tidemark, expected at most ${newest}: a newer tidemark was here; use that one, or a newer one still`,
    );
  }
  return all.filter(({ version }) => !applied.includes(version));
}

/** All of it as one script, for a person who runs it instead of us. It may be run twice. */
export function migrationScript(all: readonly Migration[] = MIGRATIONS): string {
  const steps = all.map(
    ({ version, name, sql }) =>
      `-- ${version}: ${name}\n${sql}\ninsert into tidemark.migrations (version, name) values (${version}, '${name.replaceAll("'", "''")}') on conflict do nothing;\n`,
  );
  return [
    'begin;',
    SEARCH_PATH_SQL,
    `select pg_advisory_xact_lock(${LOCK_KEYS});`,
    BEGIN_SQL,
    ...steps,
    'commit;\n',
  ].join('\n');
}
