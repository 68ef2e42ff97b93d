import { parseLsn, type Lsn } from '@tidemark/proto';
import type { ClientBase } from 'pg';
import type { CatalogFacts, MemberFacts, PublicationFacts, TableFacts } from '../core/catalog.ts';

/** One look at the catalog, with the clocks that say what it is worth. */
export interface CatalogLook {
  readonly facts: CatalogFacts;
  /** pg_snapshot_xmin of the look. */
  readonly oldestXid: bigint;
  /** pg_current_wal_insert_lsn(), read after the look. */
  readonly insertLsn: Lsn;
}

const PUBLICATION = `
  select p.oid || ':' || p.xmin as identity, pg_has_role(p.pubowner, 'USAGE') as owned, puballtables as all_tables, pubviaroot as via_root,
         array_remove(array[case when pubinsert then 'insert' end, case when pubupdate then 'update' end,
                            case when pubdelete then 'delete' end, case when pubtruncate then 'truncate' end], null) as operations
    from pg_publication p where pubname = $1`;

/** $1 names, $2 schemas, $3 tables, $4 publication. The view names no columns and filters before 15. */
function membersQuery(version: number): string {
  const sent =
    version >= 150_000
      ? 'attnames::text[] as attnames, rowfilter is not null as filtered'
      : 'null::text[] as attnames, false as filtered';
  // Tables that are published with their schema.
  const schema =
    version >= 150_000
      ? ` || coalesce((select s.oid from pg_publication_namespace s join pub on s.pnpubid = pub.oid where s.pnnspid = c.relnamespace)::text, '')`
      : '';
  return `
  with recursive
    pub as materialized (select oid, puballtables from pg_publication where pubname = $4),
    sent as materialized (
      select schemaname, tablename, ${sent} from pg_publication_tables
       where pubname = $4 and not (select puballtables from pub)),
    tree as (
      select w.name, c.oid, true as is_root, '' as attached
        from unnest($1::text[], $2::text[], $3::text[]) as w(name, schema, tbl)
        join pg_namespace n on n.nspname = w.schema
        join pg_class c on c.relnamespace = n.oid and c.relname = w.tbl and c.relkind not in ('i', 'I', 'S', 't', 'c')
      union
      select t.name, i.inhrelid, false, i.xmin::text from tree t join pg_inherits i on i.inhparent = t.oid)
  select t.name, c.oid::bigint::text as oid, n.nspname as schema, c.relname as tbl, c.relkind as kind, c.relpersistence = 'p' as logged,
         c.relreplident as identity_kind, t.attached,
         (select coalesce(array_agg(attname::text order by attnum), '{}') from pg_attribute a
           where attrelid = c.oid and attnum > 0 and not attisdropped) as columns,
         (select coalesce(array_agg(format_type(atttypid, atttypmod) order by attnum), '{}') from pg_attribute a
           where attrelid = c.oid and attnum > 0 and not attisdropped) as types,
         (select coalesce(array_agg(attname::text order by attnum), '{}') from pg_attribute a
           where attrelid = c.oid and attnum > 0 and not attisdropped and case c.relreplident
             when 'f' then true
             when 'n' then false
             else attnum in (
               select k.attnum from pg_index x, unnest(x.indkey) with ordinality as k(attnum, place)
                where x.indrelid = c.oid and x.indisvalid and x.indimmediate and k.place <= x.indnkeyatts
                  and case c.relreplident when 'd' then x.indisprimary else x.indisreplident end) end) as identity,
         (select coalesce(json_agg(json_build_object('index', i.relname, 'columns', (
                   select json_agg(a.attname) from unnest(x.indkey) with ordinality as k(attnum, place)
                     join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum where k.place <= x.indnkeyatts))), '[]')
            from pg_index x join pg_class i on i.oid = x.indexrelid
           where x.indrelid = c.oid and x.indisunique and x.indisvalid and x.indimmediate and x.indpred is null and x.indexprs is null
             and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attnum = any (x.indkey) and not a.attnotnull)) as candidates,
         s.tablename is not null or coalesce((select puballtables from pub), false) as published,
         coalesce(s.filtered, false) as filtered, s.attnames as sent_columns,
         coalesce((select r.oid from pg_publication_rel r join pub on r.prpubid = pub.oid where r.prrelid = c.oid)::text, '')${schema} as membership
    from tree t join pg_class c on c.oid = t.oid join pg_namespace n on n.oid = c.relnamespace
    left join sent s on s.schemaname = n.nspname and s.tablename = c.relname
   order by t.name, t.is_root desc, c.oid`;
}

/** Reads what is to be known of the rule tables (`schema.table`) and the publication. */
export async function lookAtCatalog(
  client: ClientBase,
  options: { readonly tables: readonly string[]; readonly publication: string; readonly version: number },
): Promise<CatalogLook> {
  const { tables, publication, version } = options;
  const schemas = tables.map((name) => name.slice(0, name.indexOf('.')));
  const names = tables.map((name) => name.slice(name.indexOf('.') + 1));
  const found = await client.query<PublicationRow>({ name: 'publication', text: PUBLICATION, values: [publication] });
  const members = await client.query<MemberRow>({
    name: 'members',
    text: membersQuery(version),
    values: [tables, schemas, names, publication],
  });
  const clocks = await client.query<{ xmin: string; lsn: string }>({
    name: 'clocks',
    text: 'select pg_snapshot_xmin(pg_current_snapshot())::text as xmin, pg_current_wal_insert_lsn()::text as lsn',
  });
  const clock = clocks.rows[0] as { xmin: string; lsn: string };
  const byTable = new Map<string, MemberFacts[]>(tables.map((name) => [name, []]));
  for (const row of members.rows) byTable.get(row.name)?.push(memberOf(row));
  return {
    facts: {
      publication: found.rows[0] && publicationOf(found.rows[0]),
      tables: [...byTable].map(([name, rows]): TableFacts => ({ name, members: rows })),
    },
    // A later snapshot: transactions that end between the two looks had not changed the first one's answer.
    oldestXid: BigInt(clock.xmin),
    insertLsn: parseLsn(clock.lsn),
  };
}

interface PublicationRow {
  readonly identity: string;
  readonly owned: boolean;
  readonly all_tables: boolean;
  readonly via_root: boolean;
  readonly operations: readonly string[];
}

interface MemberRow {
  readonly name: string;
  readonly oid: string;
  readonly schema: string;
  readonly tbl: string;
  readonly kind: string;
  readonly logged: boolean;
  readonly identity_kind: string;
  readonly columns: readonly string[];
  readonly types: readonly string[];
  readonly identity: readonly string[];
  readonly candidates: readonly { readonly index: string; readonly columns: readonly string[] }[];
  readonly attached: string;
  readonly published: boolean;
  readonly filtered: boolean;
  readonly sent_columns: readonly string[] | null;
  readonly membership: string;
}

function publicationOf(row: PublicationRow): PublicationFacts {
  return {
    identity: row.identity,
    owned: row.owned,
    allTables: row.all_tables,
    viaRoot: row.via_root,
    operations: row.operations,
  };
}

function memberOf(row: MemberRow): MemberFacts {
  return {
    oid: Number(row.oid),
    schema: row.schema,
    table: row.tbl,
    kind: row.kind,
    logged: row.logged,
    columns: row.columns,
    types: row.types,
    identityKind: row.identity_kind,
    identity: row.identity,
    candidates: row.candidates,
    attached: row.attached,
    published: row.published,
    filtered: row.filtered,
    sentColumns: row.sent_columns ?? undefined,
    membership: row.membership,
  };
}
