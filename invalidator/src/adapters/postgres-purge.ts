import { parseLsn, PURGE_PREFIX, type Lsn, type PurgeRequest } from '@tidemark/proto';
import type { ClientBase } from 'pg';

/**
 * Writes a purge into the WAL (SPEC I11) and answers a position at or after it: whoever has applied that has applied the
 * purge. From 17 on the message is flushed at once and its own position is exact.
 */
export async function emitPurge(client: ClientBase, purge: PurgeRequest, version: number): Promise<Lsn> {
  const json = inAscii(JSON.stringify(purge));
  if (version >= 170_000) {
    const { rows } = await client.query<{ lsn: string }>({
      name: 'purge',
      text: 'select pg_logical_emit_message(false, $1, $2::text, true)::text as lsn',
      values: [PURGE_PREFIX, json],
    });
    return parseLsn(rows[0]?.lsn ?? '');
  }
  // Before 17 only a commit flushes. It must not hang with synchronous replication: what a failover loses, its new epoch flushes.
  await client.query('begin');
  try {
    await client.query('set local synchronous_commit = local');
    await client.query('select pg_logical_emit_message(true, $1, $2::text)', [PURGE_PREFIX, json]);
    await client.query('commit');
  } catch (error) {
    // Or nothing else would work on the connection.
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
  const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  return parseLsn(rows[0]?.lsn ?? '');
}

/** Postgres writes the text in the encoding of the database, which need not have its characters, and readers expect UTF-8. */
function inAscii(json: string): string {
  return json.replaceAll(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
