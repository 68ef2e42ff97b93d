import { MARK_PREFIX } from '@tidemark/proto';
import type { ServerIdentity } from './server-identity.ts';
import type { SqlRows, SqlStatement } from './sql.ts';
import type { Executed } from './write-through.ts';

/** Of the WAL that is written to, as its files are called. */
const TIMELINE = "('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int";

// What a transaction that writes says to Postgres, beside the statements of the configuration.

/** The token in a mark is ours; anything else in it could end the text. */
const SAFE_MARK = /^[A-Za-z0-9:_-]{1,256}$/;

/**
 * Text forms as the publisher has them, because what is read back must be what a loader would find. Nothing may hold the rows for
 * longer than the caller waits, and a COMMIT that arrives later than that finds nothing to commit.
 *
 * @param serverMark when the server was started that was asked last; another one tells which system it is
 */
export function beginning(leftMs: number, serverMark: string): SqlStatement {
  return {
    text: `begin isolation level read committed read write;
select set_config('statement_timeout', '${leftMs}', true), set_config('idle_in_transaction_session_timeout', '${leftMs}', true),
       set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, MDY', true),
       set_config('intervalstyle', 'postgres', true), set_config('bytea_output', 'hex', true),
       set_config('extra_float_digits', '1', true), pg_postmaster_start_time(),
       case when pg_postmaster_start_time()::text <> '${serverMark}' then (select system_identifier from pg_control_system()) end,
       ${TIMELINE}`,
  };
}

/** Who was asked. */
export interface WriteServer {
  /** When it was started. */
  readonly mark: string;
  /** Undefined where it was known. */
  readonly systemId: bigint | undefined;
  readonly timeline: number | undefined;
}

/** Of the answer to {@link beginning}. */
export function serverOf({ rows }: SqlRows): WriteServer {
  const [mark, system, timeline] = rows[0]?.slice(7) ?? [];
  return {
    mark: mark ?? '',
    systemId: typeof system === 'string' ? BigInt(system) : undefined,
    timeline: typeof timeline === 'string' ? Number(timeline) : undefined,
  };
}

/**
 * Why nothing should be written there: nobody would follow it, or somebody else has become the primary. A server on a later timeline was
 * promoted, and the stream has not heard of it yet.
 */
export function whyNotThere(
  server: Pick<WriteServer, 'systemId' | 'timeline'>,
  followed: ServerIdentity,
): Extract<Executed, { kind: 'failed' }> | undefined {
  const leads = 'TIDEMARK_WRITE_URL leads to the wrong server: it is';
  const [there, here] = [server, followed].map(({ systemId }) => systemId);
  if (here !== undefined && there !== here) {
    const detail = `${leads} system ${there ?? 'unknown'}, but the stream comes from system ${here}`;
    return { kind: 'failed', why: 'misconfigured', detail };
  }
  const [at, expected] = [server.timeline, followed.timeline];
  if (at === undefined || expected === undefined || at >= expected) return undefined;
  const detail = `${leads} on timeline ${at}, but the stream comes from timeline ${expected}: another one was promoted`;
  return { kind: 'failed', why: 'unavailable', detail };
}

/**
 * Behind the write. What COMMIT would check or change is done now: a deferred trigger that changes the row behind what reads it would do so
 * at the very position that spares the value (SPEC I18), and nothing would ever evict it.
 */
export function marking(mark: string): SqlStatement {
  if (!SAFE_MARK.test(mark)) throw new Error(`found a mark that could end its text: ${JSON.stringify(mark)}`);
  return {
    text: `set constraints all immediate;
select pg_logical_emit_message(true, '${MARK_PREFIX}', '${mark}'), pg_backend_pid(), pg_current_xact_id()::xid`,
  };
}

/** A transaction by which others can find it. */
export interface Transaction {
  readonly pid: string;
  readonly xid: string;
}

/** Of the answer to {@link marking}. */
export function transactionOf({ rows }: SqlRows): Transaction | undefined {
  const [, pid, xid] = rows[0] ?? [];
  return typeof pid === 'string' && typeof xid === 'string' ? { pid, xid } : undefined;
}

/** After COMMIT, in a statement of its own: inside the transaction it would be too low. */
export const POSITION: SqlStatement = {
  text: `select pg_current_wal_insert_lsn(), ${TIMELINE}`,
};

/**
 * Ends a transaction whose COMMIT was not answered, if it is still under way, and answers true once it is not: from then on it is known to
 * everybody whether it was committed. The rows of pg_stat_activity lose the xid when the outcome is visible, and go when the transaction was
 * undone. A standby cannot tell.
 */
export function ending({ pid, xid }: Transaction, waitMs: number): SqlStatement {
  return {
    text: `select not pg_is_in_recovery() and coalesce((select pg_terminate_backend(pid, $3::bigint) from pg_stat_activity
where pid = $1::int and backend_xid = $2::text::xid and usename = current_user), true)`,
    values: [pid, xid, `${waitMs}`],
  };
}
