import { parseLsn, type Lsn } from '@tidemark/proto';
import { Client, type ClientBase, type ClientConfig } from 'pg';
import { quoteIdentifier } from '../core/catalog.ts';
import { OperatorError } from '../core/errors.ts';
import { SERVER_MARK, type MarkRow } from '../core/server-mark.ts';
import { SLOT_LOSSES, WAL_STATUSES, type SlotHealth, type SlotLoss } from '../core/slot-health.ts';
import type { ServerIdentity, SlotFacts } from '../core/start.ts';
import { parseTimelineHistory, type TimelineHistory } from '../core/timeline.ts';

/** The slot as it is: who uses it, and what it can still deliver. */
export interface SlotState {
  /** Process id of the walsender that uses it, if any. */
  readonly activePid: number | undefined;
  readonly facts: SlotFacts;
  /** Why it is lost, in a word. */
  readonly loss: SlotLoss | undefined;
  /** Whether standbys may take it over; undefined before 17. */
  readonly failover: boolean | undefined;
}

interface SlotRow {
  readonly plugin: string | null;
  readonly slot_type: string;
  readonly database: string | null;
  readonly active_pid: number | null;
  readonly confirmed: string | null;
  readonly wal_status: string | null;
  readonly invalidation_reason: string | null;
  readonly failover: boolean | null;
  readonly synced: boolean | null;
  readonly temporary: boolean;
}

/** Looks at the slot. Throws {@link OperatorError} when it is somebody else's. */
export async function lookAtSlot(client: ClientBase, slot: string, version: number): Promise<SlotState> {
  const since17 =
    version >= 170_000
      ? 'invalidation_reason, failover, synced'
      : 'null::text as invalidation_reason, null::bool as failover, null::bool as synced';
  const { rows } = await client.query<SlotRow & { here: string }>(
    `select plugin, slot_type, database, active_pid, confirmed_flush_lsn::text as confirmed, wal_status, temporary, ${since17},
            current_database() as here
       from pg_replication_slots where slot_name = $1`,
    [slot],
  );
  const [row] = rows;
  if (row === undefined)
    return { activePid: undefined, facts: { state: 'missing' }, loss: undefined, failover: undefined };
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
  return { activePid: row.active_pid ?? undefined, failover: row.failover ?? undefined, ...stateOf(row) };
}

function stateOf(row: SlotRow): Pick<SlotState, 'facts' | 'loss'> {
  const { wal_status: walStatus, invalidation_reason: reason, confirmed } = row;
  const lost = (loss: SlotLoss, why: string) => ({ loss, facts: { state: 'lost', why } }) as const;
  if (reason !== null) return lost(lossOf(reason), `Postgres invalidated it: ${reason}`);
  if (walStatus === 'lost') return lost('wal_removed', 'Postgres removed WAL that it needed (max_slot_wal_keep_size)');
  // A slot that is still being created has no position yet.
  if (confirmed === null) return lost('never_completed', 'its creation was never completed');
  const synced = row.failover === true && row.synced === true && !row.temporary;
  return { loss: undefined, facts: { state: 'usable', confirmed: parseLsn(confirmed), synced } };
}

/** How the slot fares; undefined where there is none. */
export async function slotHealth(client: ClientBase, slot: string, version: number): Promise<SlotHealth | undefined> {
  const { rows } = await client.query<HealthRow>({
    name: 'slot-health',
    text: `select s.wal_status as status, s.safe_wal_size::float8 as safe, ${version >= 170_000 ? 's.failover' : 'null::bool as failover'},
                  pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.confirmed_flush_lsn)::float8 as lag,
                  pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.restart_lsn)::float8 as retained, a.wait_event as event
             from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid where s.slot_name = $1`,
    values: [slot],
  });
  const [row] = rows;
  if (row === undefined) return undefined;
  return {
    walStatus: WAL_STATUSES.find((status) => status === row.status) ?? 'unknown',
    // What is below zero may be removed by the next checkpoint.
    safeWalBytes: row.safe ?? undefined,
    lagBytes: row.lag ?? 0,
    retainedBytes: row.retained ?? 0,
    heldBack: row.event === 'WaitForStandbyConfirmation',
    failover: row.failover ?? undefined,
  };
}

interface HealthRow {
  readonly status: string | null;
  readonly safe: number | null;
  readonly failover: boolean | null;
  readonly lag: number | null;
  readonly retained: number | null;
  readonly event: string | null;
}

/** A reason that a later Postgres has is `other`: labels of metrics are few. */
function lossOf(reason: string): SlotLoss {
  return SLOT_LOSSES.find((each) => each === reason) ?? 'other';
}

/** Lets standbys take over a slot that was made without that (17 and later); nobody may be using it. Rejects with the server's error. */
export async function allowFailover(connection: ClientConfig, slot: string): Promise<void> {
  await withReplication(connection, (client) => client.query(`ALTER_REPLICATION_SLOT "${slot}" (FAILOVER true)`));
}

export async function dropSlot(client: ClientBase, slot: string): Promise<void> {
  await client.query('select pg_drop_replication_slot($1)', [slot]);
}

/** Answers whether there was one. Rejects with the server's error where the role does not own it. */
export async function dropPublication(client: ClientBase, publication: string): Promise<boolean> {
  const { rowCount } = await client.query('select 1 from pg_publication where pubname = $1', [publication]);
  if (rowCount === 0) return false;
  await client.query(`drop publication if exists ${quoteIdentifier(publication)}`);
  return true;
}

/** Who the server is, with a mark that tells its connections from those of any other server. */
export interface IdentifiedServer extends ServerIdentity {
  /** Whom its timeline descends from. */
  readonly history: TimelineHistory;
  readonly mark: string;
}

/** Asks the server who it is, over a replication connection of its own. Throws {@link OperatorError} when it gives us none. */
export async function identifyServer(connection: ClientConfig): Promise<IdentifiedServer> {
  return withReplication(connection, async (client) => {
    const { rows } = await client.query<{ systemid: string; timeline: number | string; xlogpos: string }>(
      'IDENTIFY_SYSTEM',
    );
    const [row] = rows;
    if (row === undefined) throw new Error('the server answered nothing to IDENTIFY_SYSTEM');
    // xlogpos is the flush position. Whatever was streamed had been flushed, so it serves as well as the insert position.
    const timeline = Number(row.timeline);
    return {
      systemId: BigInt(row.systemid),
      timeline,
      insertLsn: parseLsn(row.xlogpos),
      history: await historyOf(client, timeline),
      mark: (await client.query<MarkRow>(SERVER_MARK)).rows[0]?.mark ?? '',
    };
  });
}

/** The command needs no right but to replicate (postgresql.org/docs/current/protocol-replication.html). */
async function historyOf(client: Client, timeline: number): Promise<TimelineHistory> {
  if (timeline === 1) return [];
  try {
    const { rows } = await client.query<{ content: Buffer | string }>(`TIMELINE_HISTORY ${timeline}`);
    return parseTimelineHistory(String(rows[0]?.content ?? ''), timeline);
  } catch (error) {
    // The server answers 58P01 when the file is gone; a connection that is lost fails the next query too.
    return { unknown: (error as Error).message };
  }
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
