import { hash64, type CompiledRules, type NamespaceRules } from '@tidemark/proto';
import {
  PUBLISHED_OPERATIONS,
  quoteIdentifier,
  quoteTable,
  rowHolders,
  type CatalogFacts,
  type MemberFacts,
  type PublicationFacts,
  type TableFacts,
} from './catalog.ts';

/** What is wrong, in a word; the status of a CacheNamespace names it. */
export type RefusalCode =
  | 'TableMissing'
  | 'NotATable'
  | 'TableUnlogged'
  | 'ColumnMissing'
  | 'ReplicaIdentity'
  | 'PublicationMissing'
  | 'PublicationSettings'
  | 'NotPublished'
  | 'PartlyPublished';

/** Why a namespace is not served, and what mends it. */
export interface Refusal {
  readonly namespace: string;
  /** The rule's table. */
  readonly table: string;
  readonly code: RefusalCode;
  readonly reason: string;
  /** Statements that mend it; empty where no statement can. */
  readonly sql: readonly string[];
}

/** What the catalog's state means for the rules. */
export interface Coverage {
  /** Namespaces whose every change reaches the stream with the columns that their rules need. */
  readonly served: ReadonlySet<NamespaceRules>;
  readonly refusals: readonly Refusal[];
  /** What would make the publication right, for a role that may. */
  readonly repair: readonly string[];
  /** Rule tables whose rows live in other tables too. */
  readonly partitioned: readonly string[];
}

/** Judges every rule of every namespace (SPEC I8). O(rules x partitions). */
export function judgeCoverage(options: { rules: CompiledRules; facts: CatalogFacts; publication: string }): Coverage {
  const { rules, facts } = options;
  const name = quoteIdentifier(options.publication);
  const served = new Set(rules.namespaces);
  const refusals: Refusal[] = [];
  const publishable: TableFacts[] = [];
  const missing: string[] = [];
  for (const table of facts.tables) {
    const unfit = tableProblem(table);
    let usable = false;
    for (const [namespace, columns] of columnsByNamespace(rules, table.name)) {
      const problem = unfit ?? rulesProblem(table, columns);
      usable ||= problem === undefined;
      const found = problem ?? publicationProblem({ facts: facts.publication, table, columns, name });
      if (found === undefined) continue;
      served.delete(namespace);
      refusals.push({ namespace: namespace.name, table: table.name, ...found });
    }
    if (!usable) continue;
    publishable.push(table);
    missing.push(...unpublished(table));
  }
  return {
    served,
    refusals,
    repair: repair({ facts: facts.publication, name, publishable, missing }),
    partitioned: facts.tables
      .filter(({ members }) => members.length > 1 || members[0]?.kind === 'p')
      .map((table) => table.name),
  };
}

interface Problem {
  readonly code: RefusalCode;
  readonly reason: string;
  readonly sql: readonly string[];
}

function columnsByNamespace(rules: CompiledRules, table: string): ReadonlyMap<NamespaceRules, ReadonlySet<string>> {
  const columns = new Map<NamespaceRules, Set<string>>();
  for (const { namespace, keys, tags } of rules.tables.get(table) ?? []) {
    const wanted = columns.get(namespace) ?? new Set();
    for (const template of [...keys, ...tags]) for (const column of template.columns) wanted.add(column);
    columns.set(namespace, wanted);
  }
  return columns;
}

/** What a publication can never have. */
const SYSTEM_SCHEMAS: ReadonlySet<string> = new Set(['pg_catalog', 'information_schema', 'pg_toast']);

/** What is wrong with a table whatever the rules say. */
function tableProblem(table: TableFacts): Problem | undefined {
  const [root] = table.members;
  if (root === undefined) return { code: 'TableMissing', reason: `there is no table ${table.name}`, sql: [] };
  if (root.kind !== 'r' && root.kind !== 'p')
    return { code: 'NotATable', reason: `${table.name} is no table, so its changes are not in the WAL`, sql: [] };
  if (SYSTEM_SCHEMAS.has(root.schema))
    return { code: 'NotATable', reason: `${table.name} is a system table, which cannot be published`, sql: [] };
  for (const member of rowHolders(table)) {
    const name = quoteTable(member);
    if (member.kind !== 'r')
      return {
        code: 'NotATable',
        reason: `${name} is a foreign table, whose changes are not in the WAL of this server`,
        sql: [],
      };
    if (!member.logged)
      return {
        code: 'TableUnlogged',
        reason: `${name} is unlogged, so its changes are not in the WAL`,
        sql: [`ALTER TABLE ${name} SET LOGGED;`],
      };
  }
  return undefined;
}

/** What keeps the old rows of a table from saying what the rules of one namespace need. */
function rulesProblem(table: TableFacts, columns: ReadonlySet<string>): Problem | undefined {
  const root = table.members[0] as MemberFacts;
  const present = new Set(root.columns);
  const absent = [...columns].filter((column) => !present.has(column));
  if (absent.length > 0)
    return { code: 'ColumnMissing', reason: `${table.name} has no column ${absent.join(', ')}`, sql: [] };
  const wanting = rowHolders(table).filter(
    (member) => member.identity.length === 0 || missingFrom(member.identity, columns).length > 0,
  );
  const [first] = wanting;
  if (first === undefined) return undefined;
  const lacking = missingFrom(first.identity, columns);
  const what = first.identity.length === 0 ? 'no old rows at all' : `old rows without ${lacking.join(', ')}`;
  return {
    code: 'ReplicaIdentity',
    reason: `the replica identity of ${quoteTable(first)} gives ${what}`,
    sql: wanting.map((member) => identityThatServes(member, columns)),
  };
}

function identityThatServes(member: MemberFacts, columns: ReadonlySet<string>): string {
  const index = member.candidates.find((candidate) => missingFrom(candidate.columns, columns).length === 0)?.index;
  return `ALTER TABLE ${quoteTable(member)} REPLICA IDENTITY ${index === undefined ? 'FULL' : `USING INDEX ${quoteIdentifier(index)}`};`;
}

function publicationProblem(options: {
  facts: PublicationFacts | undefined;
  table: TableFacts;
  columns: ReadonlySet<string>;
  name: string;
}): Problem | undefined {
  const { facts, table, columns, name } = options;
  if (facts === undefined) return { code: 'PublicationMissing', reason: `there is no publication ${name}`, sql: [] };
  const settings = settingsRepair(facts, name);
  if (settings.length > 0)
    return {
      code: 'PublicationSettings',
      reason: `publication ${name} does not send all operations of every partition`,
      sql: settings,
    };
  const absent = unpublished(table);
  if (absent.length > 0)
    return {
      code: 'NotPublished',
      reason: `publication ${name} does not have all of ${table.name}`,
      sql: [addTables(name, absent)],
    };
  for (const member of rowHolders(table)) {
    const hidden = member.sentColumns === undefined ? [] : missingFrom(member.sentColumns, columns);
    if (!member.filtered && hidden.length === 0) continue;
    const what = member.filtered ? 'only some rows' : `no column ${hidden.join(', ')}`;
    const root = quoteTable(table.members[0] as MemberFacts);
    return {
      code: 'PartlyPublished',
      reason: `publication ${name} sends ${what} of ${quoteTable(member)}`,
      sql: [`ALTER PUBLICATION ${name} DROP TABLE ${root};`, addTables(name, [root])],
    };
  }
  return undefined;
}

/**
 * What to add so that every row of a table is published. Publishing a partitioned table publishes its partitions, now
 * and later; inheritance children are members of their own.
 */
function unpublished(table: TableFacts): readonly string[] {
  const absent = rowHolders(table).filter(({ published }) => !published);
  return absent.length > 0 ? namesToPublish(table, absent) : [];
}

function namesToPublish(table: TableFacts, holders: readonly MemberFacts[]): readonly string[] {
  const [root] = table.members;
  if (root?.kind === 'p') return [quoteTable(root)];
  return holders.map((member) => `${table.members.length > 1 ? 'ONLY ' : ''}${quoteTable(member)}`);
}

function repair(options: {
  facts: PublicationFacts | undefined;
  name: string;
  publishable: readonly TableFacts[];
  missing: readonly string[];
}): readonly string[] {
  const { facts, name, publishable, missing } = options;
  if (facts === undefined) {
    const tables = publishable.flatMap((table) => namesToPublish(table, rowHolders(table)));
    const which = tables.length > 0 ? ` FOR TABLE ${[...new Set(tables)].join(', ')}` : '';
    return [
      `CREATE PUBLICATION ${name}${which} WITH (publish = '${PUBLISHED_OPERATIONS.join(', ')}', publish_via_partition_root = false);`,
    ];
  }
  // One statement a table: the role may not own them all.
  const adding = facts.allTables ? [] : [...new Set(missing)].map((table) => addTables(name, [table]));
  return [...settingsRepair(facts, name), ...adding];
}

function settingsRepair(facts: PublicationFacts, name: string): readonly string[] {
  const sql: string[] = [];
  if (missingFrom(facts.operations, new Set(PUBLISHED_OPERATIONS)).length > 0) {
    sql.push(`ALTER PUBLICATION ${name} SET (publish = '${PUBLISHED_OPERATIONS.join(', ')}');`);
  }
  // With it a TRUNCATE of one partition would send nothing.
  if (facts.viaRoot) sql.push(`ALTER PUBLICATION ${name} SET (publish_via_partition_root = false);`);
  return sql;
}

function addTables(name: string, tables: readonly string[]): string {
  return `ALTER PUBLICATION ${name} ADD TABLE ${tables.join(', ')};`;
}

function missingFrom(present: readonly string[], wanted: ReadonlySet<string>): string[] {
  return [...wanted].filter((column) => !present.includes(column));
}

/** Marks of one rule table that change when DDL changed something of it. */
export interface TableMarks {
  /** What its rows look like and where they live. */
  readonly shape: string;
  /** Its place in the publication; another one means that it was not published for a while, or not all of it. */
  readonly membership: string;
}

/** The marks of every rule table. */
export function tableMarks(facts: CatalogFacts): ReadonlyMap<string, TableMarks> {
  return new Map(
    facts.tables.map(({ name, members }) => [
      name,
      {
        shape: JSON.stringify(members.map(({ oid, attached, columns, types }) => [oid, attached, columns, types])),
        membership: [facts.publication?.identity ?? '', ...members.map(({ membership }) => membership)]
          .filter((text) => text !== '')
          .join(' '),
      },
    ]),
  );
}

/** Each table with its marks in 64 bits, by table. */
export function digestsOf(marks: ReadonlyMap<string, TableMarks>): ReadonlyMap<string, bigint> {
  return new Map(
    [...marks].map(([table, { shape, membership }]) => [table, hash64(JSON.stringify([table, shape, membership]))]),
  );
}

/**
 * The namespaces whose every change is sent since the record that claimed these: each of their tables belongs to a namespace
 * that it claimed, and is as it was then. So other rules on the same tables are claimed at once, whereas others have to earn it.
 */
export function provenClaims(options: {
  rules: CompiledRules;
  claimed: { readonly covers: ReadonlySet<bigint>; readonly catalog: ReadonlySet<bigint> };
  digests: ReadonlyMap<string, bigint>;
}): ReadonlySet<bigint> {
  const { rules, claimed, digests } = options;
  const proven = new Set(rules.namespaces.map(({ hash }) => hash));
  for (const [table, tableRules] of rules.tables) {
    const digest = digests.get(table);
    const isAsThen = digest !== undefined && claimed.catalog.has(digest);
    if (isAsThen && tableRules.some(({ namespace }) => claimed.covers.has(namespace.hash))) continue;
    for (const { namespace } of tableRules) proven.delete(namespace.hash);
  }
  return proven;
}

/** Tables with another mark than before. */
export function changedTables(
  before: ReadonlyMap<string, TableMarks>,
  now: ReadonlyMap<string, TableMarks>,
): { readonly shape: readonly string[]; readonly membership: readonly string[] } {
  const changed = (mark: keyof TableMarks): string[] =>
    [...now].filter(([table, marks]) => before.get(table)?.[mark] !== marks[mark]).map(([table]) => table);
  return { shape: changed('shape'), membership: changed('membership') };
}
