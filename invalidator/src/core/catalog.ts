/** What the catalog of Postgres says about the tables that rules name. Facts only; coverage.ts judges them. */

/** A table, partition or inheritance child that rows of a rule table may live in. */
export interface MemberFacts {
  readonly oid: number;
  readonly schema: string;
  readonly table: string;
  /** pg_class.relkind: r table, p partitioned, f foreign, and so on. */
  readonly kind: string;
  /** Whether it writes WAL (relpersistence p). */
  readonly logged: boolean;
  readonly columns: readonly string[];
  /** The columns' types; a change of them is a change of what rows look like. */
  readonly types: readonly string[];
  /** pg_class.relreplident: d primary key, i index, f full, n nothing. */
  readonly identityKind: string;
  /** Columns that old rows carry; empty where nothing does. */
  readonly identity: readonly string[];
  /** Changes when it is attached to its parent anew; empty for a table without one. */
  readonly attached: string;
  /** Unique indexes that could be the replica identity: immediate, whole, on columns that are not null. */
  readonly candidates: readonly { readonly index: string; readonly columns: readonly string[] }[];
  readonly published: boolean;
  /** A row filter of the publication hides some rows. */
  readonly filtered: boolean;
  /** Columns that the publication sends; undefined for all. */
  readonly sentColumns: readonly string[] | undefined;
  /** Identity of its own membership in the publication; empty for a member by way of its root. */
  readonly membership: string;
}

/** One table that rules name. */
export interface TableFacts {
  /** `schema.table`, as the rules have it. */
  readonly name: string;
  /** The table itself first, then all its descendants; empty when there is no such table. */
  readonly members: readonly MemberFacts[];
}

export interface PublicationFacts {
  /** Changes whenever the publication is altered or made anew. */
  readonly identity: string;
  /** We may alter it. */
  readonly owned: boolean;
  readonly allTables: boolean;
  readonly viaRoot: boolean;
  /** Of insert, update, delete, truncate. */
  readonly operations: readonly string[];
}

export interface CatalogFacts {
  /** Undefined when there is none of that name. */
  readonly publication: PublicationFacts | undefined;
  readonly tables: readonly TableFacts[];
}

export const PUBLISHED_OPERATIONS = ['insert', 'update', 'delete', 'truncate'] as const;

/** Members that hold rows themselves. */
export function rowHolders(table: TableFacts): readonly MemberFacts[] {
  return table.members.filter(({ kind }) => kind !== 'p');
}

/** `"schema"."table"`, quoted where it must be. */
export function quoteTable({ schema, table }: { readonly schema: string; readonly table: string }): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(table)}`;
}

/** Quotes unless the name reads back as itself; keywords are quoted too often rather than too seldom. */
export function quoteIdentifier(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) && !RESERVED.has(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** Reserved words of Postgres 18 (appendix C of its documentation). */
const RESERVED = new Set(
  (
    'all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation column ' +
    'concurrently constraint create cross current_catalog current_date current_role current_schema current_time ' +
    'current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze from ' +
    'full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit ' +
    'localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references ' +
    'returning right select session_user similar some symmetric system_user table tablesample then to trailing true union ' +
    'unique user using variadic verbose when where window with'
  ).split(' '),
);
