import { parseLsn, type Lsn } from '@tidemark/proto';
import { Client, type ClientBase, type ClientConfig } from 'pg';
import { quoteIdentifier } from '../core/catalog.ts';
import { OperatorError } from '../core/errors.ts';
import type { ServerIdentity, SlotFacts } from '../core/start.ts';

/** The slot as it is: who uses it, and what it can still deliver. */
export interface SlotState {
  /** Process id of the walsender that uses it, if any. */
  readonly activePid: number | undefined;
  readonly facts: SlotFacts;
}

interface SlotRow {
  readonly plugin: string | null;
  readonly slot_type: string;
  readonly database: string | null;
  readonly active_pid: number | null;
  readonly confirmed: string | null;
  readonly wal_status: string | null;
  readonly invalidation_reason: string | null;
}

/** Looks at the slot. Throws {@link OperatorError} when it is somebody else's. */
export async function lookAtSlot(client: ClientBase, slot: string, version: number): Promise<SlotState> {
  const reason = version >= 170_000 ? 'invalidation_reason' : 'null::text as invalidation_reason';
  const { rows } = await client.query<SlotRow & { here: string }>(
    `select plugin, slot_type, database, active_pid, confirmed_flush_lsn::text as confirmed, wal_status, ${reason}, current_database() as here
       from pg_replication_slots where slot_name = $1`,
    [slot],
  );
  const [row] = rows;
  if (row === undefined) return { activePid: undefined, facts: { state: 'missing' } };
  if (row.slot_type !== 'logical' || row.plugin !== 'pgoutput' || row.database !== row.here) {
    const found =
      row.slot_type === 'logical'
        ? `a logical slot of plugin ${row.plugin} in database ${row.database}`
        : `a ${row.slot_type} slot`;
    throw new OperatorError(
      `slot ${slot} is ${found}, expected a logical slot of plugin pgoutput in database ${row.here}: name another one (TIDEMARK_SLOT), or drop it if nobody needs it`,
      [`SELECT pg_drop_replication_slot('${slot}');`],
    );
  }
  return { activePid: row.active_pid ?? undefined, facts: factsOf(row) };
}

function factsOf({ wal_status: walStatus, invalidation_reason: reason, confirmed }: SlotRow): SlotFacts {
  if (reason !== null) return { state: 'lost', why: `Postgres invalidated it: ${reason}` };
  if (walStatus === 'lost')
    return { state: 'lost', why: 'Postgres removed WAL that it needed (max_slot_wal_keep_size)' };
  // A slot that is still being created has no position yet.
  if (confirmed === null) return { state: 'lost', why: 'its creation was never completed' };
  return { state: 'usable', confirmed: parseLsn(confirmed) };
}

export async function dropSlot(client: ClientBase, slot: string): Promise<void> {
  await client.query('select pg_drop_replication_slot($1)', [slot]);
}

/** Asks the server who it is, over a replication connection of its own. Throws {@link OperatorError} when it gives us none. */
export async function identifyServer(connection: ClientConfig): Promise<ServerIdentity> {
  return withReplication(connection, async (client) => {
    const { rows } = await client.query<{ systemid: string; timeline: number | string; xlogpos: string }>(
      'IDENTIFY_SYSTEM',
    );
    const [row] = rows;
    if (row === undefined) throw new Error('the server answered nothing to IDENTIFY_SYSTEM');
    // xlogpos is the flush position. Whatever was streamed had been flushed, so it serves as well as the insert position.
    return { systemId: BigInt(row.systemid), timeline: Number(row.timeline), insertLsn: parseLsn(row.xlogpos) };
  });
}

/** A slot that was just made. */
export interface NewSlot {
  /** Every transaction that commits after this position will be delivered. */
  readonly start: Lsn;
  /** pg_current_snapshot() as the WAL up to `start` has it: what was committed by then, visible or not. */
  readonly snapshot: string;
}

/**
 * Makes the slot. Waits, without limit, for transactions that were open before it. `onWaiting` is told the process id of
 * the walsender that does it.
 */
export async function createSlot(options: {
  readonly connection: ClientConfig;
  readonly slot: string;
  /** Let a standby take the slot over (17 and later). */
  readonly failover: boolean;
  readonly onBackend: (pid: number) => void;
}): Promise<NewSlot> {
  const { connection, slot, failover, onBackend } = options;
  return withReplication(connection, async (client) => {
    onBackend((client as Client & { readonly processID: number }).processID);
    await client.query('BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ');
    const use = failover ? "(SNAPSHOT 'use', FAILOVER true)" : 'USE_SNAPSHOT';
    const made = await client.query<{ consistent_point: string }>(
      `CREATE_REPLICATION_SLOT "${slot}" LOGICAL pgoutput ${use}`,
    );
    const seen = await client.query<{ snapshot: string }>('SELECT pg_current_snapshot()::text AS snapshot');
    await client.query('COMMIT');
    return { start: parseLsn(made.rows[0]?.consistent_point ?? ''), snapshot: seen.rows[0]?.snapshot ?? '' };
  });
}

/**
 * How many transactions a snapshot taken from the WAL shows as committed that a snapshot taken now does not show. Ids
 * between the two snapshots' ends are few; those in progress are listed.
 */
export async function countUnseen(client: ClientBase, walSnapshot: string): Promise<number> {
  const { rows } = await client.query<{ unseen: number }>(
    `with s as (select pg_current_snapshot() as now, $1::pg_snapshot as wal),
          open as (
            select pg_snapshot_xip(now)::text as x from s
            union
            select n::text from s, generate_series(pg_snapshot_xmax(now)::text::numeric, pg_snapshot_xmax(wal)::text::numeric - 1) as n)
     select count(*)::int as unseen from s, open
      where pg_visible_in_snapshot(x::xid8, wal) and not pg_visible_in_snapshot(x::xid8, now)`,
    [walSnapshot],
  );
  return rows[0]?.unseen ?? 0;
}

/** Transactions that keep a slot from being made: process id and when they began. */
export async function openTransactions(client: ClientBase): Promise<readonly { pid: number; since: Date }[]> {
  const { rows } = await client.query<{ pid: number; since: Date }>(
    'select pid, xact_start as since from pg_stat_activity where backend_xid is not null order by xact_start limit 10',
  );
  return rows;
}

const INSUFFICIENT_PRIVILEGE = '42501';

async function withReplication<T>(connection: ClientConfig, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ ...connection, replication: 'database' } as ClientConfig);
  client.on('error', () => undefined); // a lost connection fails the command that is under way
  try {
    await client.connect();
  } catch (error) {
    // Managed servers grant this by roles of their own, so only the server itself knows who may.
    if ((error as { code?: string }).code !== INSUFFICIENT_PRIVILEGE) throw error;
    throw new OperatorError(`role ${client.user} may not replicate (${(error as Error).message})`, [
      `ALTER ROLE ${quoteIdentifier(client.user ?? '')} REPLICATION;`,
    ]);
  }
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
