import { HEARTBEAT_PREFIX, parseLsn } from '@tidemark/proto';
import type { ClientBase } from 'pg';
import type { ServerPosition } from '../core/position.ts';

/**
 * Writes a heartbeat into the WAL and answers its end: at or after the commit of everything that any snapshot sees by now.
 * The message makes the stream pass this position within milliseconds, where an idle one would wait for the next heartbeat.
 * The timeline is that of the WAL being written, also right after a promotion (the control file learns of it later).
 */
export async function markPosition(client: ClientBase, version: number): Promise<ServerPosition> {
  const flush = version >= 170_000 ? ', true' : '';
  const { rows } = await client.query<{ lsn: string; systemId: string; file: string }>({
    name: 'position',
    text: `select pg_logical_emit_message(false, $1, ''${flush})::text as lsn,
                  (select system_identifier from pg_control_system())::text as "systemId",
                  pg_walfile_name(pg_current_wal_insert_lsn()) as file`,
    values: [HEARTBEAT_PREFIX],
  });
  const [row] = rows;
  if (row === undefined) throw new Error('the server answered nothing');
  return {
    lsn: parseLsn(row.lsn),
    systemId: BigInt(row.systemId),
    timeline: Number.parseInt(row.file.slice(0, 8), 16),
  };
}

/**
 * Offset of the first write in a topic that is not in the database yet, as this snapshot sees it; 0 where nothing was ever flushed.
 * To be asked before {@link markPosition}: what it counts as flushed was committed at or before that position.
 */
export async function flushedOffset(client: ClientBase, topic: string): Promise<number> {
  const { rows } = await client.query<{ there: boolean }>(
    "select to_regclass('tidemark.flush_progress') is not null as there",
  );
  if (rows[0]?.there !== true) return 0;
  const progress = await client.query<{ next: string }>(
    'select next_offset::text as next from tidemark.flush_progress where topic = $1 and partition = 0',
    [topic],
  );
  return Number(progress.rows[0]?.next ?? 0);
}
