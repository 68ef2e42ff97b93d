import { HEARTBEAT_PREFIX } from '@tidemark/proto';
import { Client, type ClientBase, type ClientConfig } from 'pg';
import { noDatabase, OperatorError } from '../core/errors.ts';
import type { WalSender } from '../core/liveness.ts';
import type { RelationFacts } from '../core/relations.ts';
import { expectServer, SERVER_MARK, type MarkRow } from '../core/server-mark.ts';

/** What has to be known of the server before anything else. */
export interface ServerFacts {
  /** server_version_num, such as 180001. */
  readonly version: number;
  readonly role: string;
  readonly database: string;
  /** It is a standby, or still recovers: it may become a primary at any time. */
  readonly inRecovery: boolean;
}

/** Opens a connection; `onFailure` is called at most once, when it is lost. Rejects with the server's error. */
export async function openSession(options: {
  readonly connection: ClientConfig;
  readonly onFailure: (error: Error) => void;
}): Promise<Client> {
  const client = new Client(options.connection);
  let failed = false;
  client.on('error', (error) => {
    if (!failed) options.onFailure(error);
    failed = true;
  });
  await client.connect();
  // Nothing we commit may hang with synchronous replication; what a failover loses of it is made again.
  await client.query('set synchronous_commit = local');
  return client;
}

/** For a command that a person waits for: why there is no connection is told in a sentence, by an {@link OperatorError}. */
export async function openForCommand(connection: ClientConfig): Promise<Client> {
  try {
    // Whatever is lost later fails the query that is under way.
    return await openSession({ connection, onFailure: () => undefined });
  } catch (error) {
    throw noDatabase(error);
  }
}

/** What the server is, whether or not it can be followed. */
export async function serverFacts(client: ClientBase): Promise<ServerFacts> {
  const { rows } = await client.query<ServerFacts>(`
    select current_setting('server_version_num')::int as version, pg_is_in_recovery() as "inRecovery",
           current_user as role, current_database() as database`);
  const [facts] = rows;
  if (facts === undefined) throw new Error('the server answered nothing');
  return facts;
}

/** Checks that this server can be followed at all. Throws {@link OperatorError} with what mends it. */
export async function checkServer(client: ClientBase): Promise<ServerFacts> {
  const { rows } = await client.query<ServerFacts & { wal_level: string }>(`
    select current_setting('server_version_num')::int as version, current_setting('wal_level') as wal_level,
           pg_is_in_recovery() as "inRecovery", current_user as role, current_database() as database`);
  const [facts] = rows;
  if (facts === undefined) throw new Error('the server answered nothing');
  const { version, role, database, inRecovery } = facts;
  if (version < 140_000)
    throw new OperatorError(`Postgres ${Math.floor(version / 10_000)} is too old, expected 14 or newer`);
  if (facts.wal_level !== 'logical') {
    throw new OperatorError(`found wal_level = ${facts.wal_level}, expected logical (takes a restart of the server)`, [
      "ALTER SYSTEM SET wal_level = 'logical';",
    ]);
  }
  return { version, role, database, inRecovery };
}

/** Rejects unless the connection leads to the server with this mark. */
export async function checkMark(client: ClientBase, mark: string): Promise<void> {
  expectServer((await client.query<MarkRow>(SERVER_MARK)).rows, mark);
}

/** Takes the lock that keeps a second invalidator of the same slot waiting; it ends with the connection. */
export async function tryLock(client: ClientBase, slot: string): Promise<boolean> {
  const { rows } = await client.query<{ locked: boolean }>(
    "select pg_try_advisory_lock(hashtext('tidemark'), hashtext($1)) as locked",
    [slot],
  );
  return rows[0]?.locked ?? false;
}

/** Process id of whoever has that lock; undefined when nobody has. */
export async function lockHolder(client: ClientBase, slot: string): Promise<number | undefined> {
  // Both keys are shown unsigned, and 2 stands for "two keys" (postgresql.org/docs/current/view-pg-locks.html).
  const { rows } = await client.query<{ pid: number }>(
    `select pid from pg_locks
      where locktype = 'advisory' and granted and objsubid = 2
        and database = (select oid from pg_database where datname = current_database())
        and classid::bigint = hashtext('tidemark')::bigint & 4294967295
        and objid::bigint = hashtext($1)::bigint & 4294967295`,
    [slot],
  );
  return rows[0]?.pid;
}

/** Writes our own message into the WAL; it comes back through the stream. */
export async function emitHeartbeat(client: ClientBase, version: number): Promise<void> {
  // Without the flush a message on an idle server waits for the WAL writer; 17 and later can do it at once.
  const flush = version >= 170_000 ? ', true' : '';
  await client.query({
    name: 'heartbeat',
    text: `select pg_logical_emit_message(false, $1, ''${flush})`,
    values: [HEARTBEAT_PREFIX],
  });
}

/** What the walsender of a stream does at the moment; undefined when the server has none with this process id. */
export async function walSenderOf(client: ClientBase, pid: number): Promise<WalSender | undefined> {
  const { rows } = await client.query<{ event: string | null }>(
    "select wait_event as event from pg_stat_activity where pid = $1 and backend_type = 'walsender'",
    [pid],
  );
  return rows[0] && { waitEvent: rows[0].event };
}

/** A connection in words: its name, where it comes from, and since when. */
export async function backendFacts(client: ClientBase, pid: number): Promise<string> {
  const { rows } = await client.query<{ name: string; from: string | null; since: string }>(
    `select application_name as name, host(client_addr) as from, backend_start::timestamptz(0)::text as since
       from pg_stat_activity where pid = $1`,
    [pid],
  );
  const [row] = rows;
  if (row === undefined) return `process ${pid} of Postgres`;
  return `"${row.name}" (process ${pid} of Postgres, from ${row.from ?? 'a local socket'}, since ${row.since})`;
}

/** Ends a walsender of ours that the other end of a dead connection still keeps busy with the slot. */
export async function terminateBackend(client: ClientBase, pid: number): Promise<void> {
  await client.query('select pg_terminate_backend($1)', [pid]);
}

/** Assigns a transaction id: every id that was assigned before is lower. */
export async function nextXid(client: ClientBase): Promise<bigint> {
  const { rows } = await client.query<{ xid: string }>('select pg_current_xact_id()::text as xid');
  return BigInt(rows[0]?.xid ?? 0);
}

const LINEAGE = `
  with recursive up as (
    select $1::oid as oid union select i.inhparent from up join pg_inherits i on i.inhrelid = up.oid)
  select array_agg(n.nspname || '.' || c.relname) as lineage,
         bool_or(c.oid = $1::oid and (
           exists (select from pg_publication p where p.pubname = $2 and p.puballtables)
           or exists (select from pg_publication_tables t where t.pubname = $2 and t.schemaname = n.nspname and t.tablename = c.relname))) as published
    from up join pg_class c on c.oid = up.oid join pg_namespace n on n.oid = c.relnamespace`;

/** Names of a relation and its ancestors as they are now; undefined when the catalog does not have it any more. */
export async function relationFacts(
  client: ClientBase,
  oid: number,
  publication: string,
): Promise<RelationFacts | undefined> {
  const { rows } = await client.query<{ lineage: string[] | null; published: boolean | null }>({
    name: 'lineage',
    text: LINEAGE,
    values: [oid, publication],
  });
  const [row] = rows;
  return row?.lineage ? { lineage: row.lineage, published: row.published ?? false } : undefined;
}

/**
 * Runs statements that make the publication right, each by itself; gives up on a lock after a few seconds. Rejects with the
 * first error once all were tried: {@link OperatorError} where the role may not.
 */
export async function repairPublication(client: ClientBase, sql: readonly string[]): Promise<void> {
  let failure: Error | undefined;
  for (const statement of sql) {
    try {
      await client.query(`begin; set local lock_timeout = '3s'; ${statement} commit`);
    } catch (error) {
      await client.query('rollback').catch(() => undefined);
      const mayNot = (error as { code?: string }).code === INSUFFICIENT_PRIVILEGE;
      const { message } = error as Error;
      failure ??= mayNot
        ? new OperatorError(`the role may not do what has to be done (${message})`, sql)
        : (error as Error);
    }
  }
  if (failure !== undefined) throw failure;
}

const INSUFFICIENT_PRIVILEGE = '42501';
