import type { RelationFacts } from '../../../invalidator/src/core/relations.ts';
import * as wire from '../../../invalidator/src/core/testing/wire.ts';
import type { CatalogLook } from '../../../invalidator/src/adapters/postgres-catalog.ts';
import { HEARTBEAT_PREFIX, PURGE_PREFIX } from '@tidemark/proto';
import type { Server, WalRecord } from './postgres.ts';

const OID = 7;
export const TABLE = 'public.rows';
export const PUBLICATION = 'tidemark';

/** What the catalog queries of the invalidator find. */
export function lookAt(server: Server): CatalogLook {
  const { isPublished, membership, shape } = server.catalog;
  return {
    facts: {
      publication: {
        identity: '1',
        owned: true,
        allTables: false,
        viaRoot: false,
        operations: ['insert', 'update', 'delete', 'truncate'],
      },
      tables: [
        {
          name: TABLE,
          members: [
            {
              oid: OID,
              schema: 'public',
              table: 'rows',
              kind: 'r',
              logged: true,
              columns: ['id', 'value'],
              types: ['text', `text(${shape})`],
              identityKind: 'd',
              identity: ['id'],
              attached: '',
              candidates: [],
              published: isPublished,
              filtered: false,
              sentColumns: undefined,
              membership: isPublished ? String(membership) : '',
            },
          ],
        },
      ],
    },
    oldestXid: BigInt(server.oldestXid),
    insertLsn: server.insertLsn,
  };
}

export function relationOf(server: Server): RelationFacts {
  return { published: server.catalog.isPublished, lineage: [TABLE] };
}

/** The messages of pgoutput for one record of the WAL, for a connection that knows the relation already or does not. */
export function messagesOf(record: WalRecord, knowsRelation: boolean): readonly Buffer[] {
  const { kind, start, end, xid, purges } = record;
  if (kind === 'ddl') return [];
  if (xid === undefined) {
    const prefix = kind === 'heartbeat' ? HEARTBEAT_PREFIX : PURGE_PREFIX;
    const content = kind === 'heartbeat' ? '' : JSON.stringify({ purge: purges });
    return [wire.message({ transactional: false, lsn: end, prefix, content })];
  }
  const sent = record.rows.filter((change) => change.sent);
  // Empty transactions are left out (15 and later).
  if (sent.length === 0 && purges.length === 0) return [];
  const messages = [wire.begin({ finalLsn: start, atUs: 1_000_000, xid })];
  if (sent.length > 0 && !knowsRelation) messages.push(wire.relation(RELATION));
  for (const { row } of sent) messages.push(wire.update(OID, [{ text: row }, { text: String(record.id) }]));
  if (purges.length > 0) {
    const content = JSON.stringify({ purge: purges });
    messages.push(wire.message({ transactional: true, lsn: start, prefix: PURGE_PREFIX, content }));
  }
  messages.push(wire.commit({ start, end, atUs: 1_000_000 }));
  return messages;
}

const RELATION = {
  oid: OID,
  schema: 'public',
  table: 'rows',
  columns: [
    { name: 'id', identity: true },
    { name: 'value', identity: false },
  ],
};
