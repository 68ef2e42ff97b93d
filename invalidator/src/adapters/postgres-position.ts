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
