import { HEARTBEAT_PREFIX, parseLsn, PURGE_PREFIX, type Lsn } from '@tidemark/proto';
import { Client, type ClientConfig } from 'pg';
import type { RelationFacts } from '../core/relations.ts';

export interface ControlConnection {
  readonly client: Client;
  emitHeartbeat(): Promise<void>;
  insertLsn(): Promise<Lsn>;
  relationFacts(oid: number, publication: string): Promise<RelationFacts | undefined>;
  close(): Promise<void>;
}

const LINEAGE = `
  with recursive up as (
    select $1::oid as oid union select i.inhparent from up join pg_inherits i on i.inhrelid = up.oid)
  select array_agg(n.nspname || '.' || c.relname) as lineage,
         bool_or(c.oid = $1::oid and (
           exists (select from pg_publication p where p.pubname = $2 and p.puballtables)
           or exists (select from pg_publication_tables t where t.pubname = $2 and t.schemaname = n.nspname and t.tablename = c.relname))) as published
    from up join pg_class c on c.oid = up.oid join pg_namespace n on n.oid = c.relnamespace`;

/** The connection for the catalog, the heartbeat and the lock. Rejects with the server's error. */
export async function openControl(options: { readonly connection: ClientConfig; readonly onFailure: (error: Error) => void }): Promise<ControlConnection> {
  const client = new Client(options.connection);
  client.on('error', options.onFailure);
  await client.connect();
  const { rows } = await client.query<{ version: number }>(`select current_setting('server_version_num')::int as version`);
  const version = rows[0]?.version ?? 0;
  // Without the flush a message on an idle server waits for the WAL writer; 17 and later can do it at once.
  const heartbeat = `select pg_logical_emit_message(false, '${HEARTBEAT_PREFIX}', ''${version >= 170_000 ? ', true' : ''})`;
  return {
    client,
    async emitHeartbeat() {
      await client.query(heartbeat);
    },
    async insertLsn() {
      const result = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
      return parseLsn(result.rows[0]?.lsn ?? '');
    },
    async relationFacts(oid, publication) {
      const result = await client.query<{ lineage: string[] | null; published: boolean | null }>({ name: 'lineage', text: LINEAGE, values: [oid, publication] });
      const row = result.rows[0];
      return row?.lineage ? { lineage: row.lineage, published: row.published ?? false } : undefined;
    },
    close: () => client.end(),
  };
}

/** Writes a purge into the WAL and answers a position at or after it. */
export async function emitPurge(client: Client, json: string): Promise<Lsn> {
  // A purge must not hang with synchronous replication: what a failover loses, its new epoch flushes.
  await client.query('begin; set local synchronous_commit = local');
  await client.query('select pg_logical_emit_message(true, $1, $2)', [PURGE_PREFIX, json]);
  await client.query('commit');
  const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  return parseLsn(rows[0]?.lsn ?? '');
}
