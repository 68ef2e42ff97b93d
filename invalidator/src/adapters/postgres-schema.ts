import type { ClientBase } from 'pg';
import { OperatorError } from '../core/errors.ts';
import { BEGIN_SQL, LOCK_KEYS, missingMigrations, SEARCH_PATH_SQL, type Migration } from '../core/schema/migrations.ts';

const MISSING_PRIVILEGE = '42501';
const LOCK_NOT_AVAILABLE = '55P03';

/**
 * Brings schema `tidemark` up to date in one transaction, so that all of it is there afterwards or nothing; answers what was done.
 * Two of these wait for each other. Rejects with {@link OperatorError} for what a person has to mend.
 */
export async function migrate(client: ClientBase, options: { waitMs: number }): Promise<readonly Migration[]> {
  try {
    await client.query(`begin; ${SEARCH_PATH_SQL} set local lock_timeout = ${options.waitMs}`);
    await client.query(`select pg_advisory_xact_lock(${LOCK_KEYS})`);
    const { self, isSuper, stranger } = await owners(client);
    if (stranger !== undefined && isSuper) throw foreign(stranger, self);
    const missing = missingMigrations(await appliedVersions(client));
    if (stranger !== undefined && missing.length > 0) throw foreign(stranger, self);
    if (missing.length > 0) await client.query(BEGIN_SQL);
    for (const { version, name, sql } of missing) {
      await client.query(sql);
      await client.query('insert into tidemark.migrations (version, name) values ($1, $2)', [version, name]);
    }
    await client.query('commit');
    return missing;
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw await explained(client, error as Error & { code?: string }, options);
  }
}

/**
 * Who works, and who owns the schema, or the table in it that is written, and has fewer rights than a superuser: triggers and functions of
 * his would run with the rights of whoever works.
 */
async function owners(client: ClientBase): Promise<{ self: string; isSuper: boolean; stranger: string | undefined }> {
  const { rows } = await client.query<{ self: string; is_super: boolean; stranger: string | null }>(
    `select current_user::text as self, (select rolsuper from pg_roles where rolname = current_user) as is_super, (
       select min(rolname::text) from pg_roles where rolname <> current_user and not rolsuper and oid in (
         select nspowner from pg_namespace where nspname = 'tidemark'
         union all select relowner from pg_class where oid = to_regclass('tidemark.migrations'))) as stranger`,
  );
  const { self = '', is_super: isSuper = true, stranger } = rows[0] ?? {};
  return { self, isSuper, stranger: stranger ?? undefined };
}

function foreign(owner: string, self: string): OperatorError {
  return new OperatorError(
    `schema tidemark is owned by ${owner}, expected ${self}: what its owner has put there would run with the rights of ${self}. Run it as ${owner}`,
  );
}

async function appliedVersions(client: ClientBase): Promise<readonly number[]> {
  const { rows } = await client.query<{ there: boolean }>(
    "select to_regclass('tidemark.migrations') is not null as there",
  );
  if (rows[0]?.there !== true) return [];
  return (await client.query<{ version: number }>('select version from tidemark.migrations')).rows.map(
    ({ version }) => version,
  );
}

async function explained(
  client: ClientBase,
  error: Error & { code?: string },
  { waitMs }: { waitMs: number },
): Promise<Error> {
  if (error.code === LOCK_NOT_AVAILABLE)
    return new OperatorError(`another tidemark migrate has been at work for ${waitMs / 1000} s: try again later`);
  if (error.code !== MISSING_PRIVILEGE) return error;
  const { rows } = await client
    .query<{ grant: string }>(
      "select format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), current_user) as grant",
    )
    .catch(() => ({ rows: [] }));
  return new OperatorError(
    `the role may not do what has to be done (${error.message}). Let a role do it that owns schema tidemark, run what tidemark migrate --print shows, or allow the role to make the schema`,
    rows.map(({ grant }) => grant),
  );
}
