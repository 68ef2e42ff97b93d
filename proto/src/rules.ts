import type { Batch } from './batch.ts';
import { hash64 } from './hash.ts';
import type { Lsn } from './lsn.ts';
import { Op, readTableChanges, type TableChangesReader } from './table-changes.ts';
import {
  bindTemplate,
  parseTemplate,
  renderTemplate,
  type BoundTemplate,
  type Row,
  type Template,
} from './template.ts';

/** One invalidation rule as it is configured. */
export interface RuleConfig {
  /** `schema.table`. */
  readonly table: string;
  readonly keys: readonly string[];
  readonly tags: readonly string[];
}

/** A namespace as the compiler needs it. */
export interface RulesInput {
  readonly name: string;
  readonly source: string;
  readonly rules: readonly RuleConfig[];
  /** Whether there may be several values of a key, for different callers. */
  readonly varies?: boolean;
  /** What else decides what a cached value means, as JSON; undefined where nothing does. */
  readonly meaning?: unknown;
}

/** A namespace under particular rules: the pair that fences and entries are named by (SPEC I8). */
export interface NamespaceRules {
  /** Place in {@link CompiledRules.namespaces}; seeds its fences. */
  readonly index: number;
  readonly name: string;
  /** Identity of name, source and rules together. */
  readonly hash: bigint;
  /** The same as 16 hex digits: names Redis keys and shows in the status. */
  readonly hashHex: string;
  /** Entries have addresses of their own, and a key is a tag that all of its variants have ({@link keyTag}). */
  readonly varies?: boolean;
}

/** Receives what a batch invalidates. One batch may name the same thing twice, and not always by ascending position. */
export interface InvalidationSink {
  key(namespace: NamespaceRules, key: string, lsn: Lsn): void;
  tag(namespace: NamespaceRules, tag: string, lsn: Lsn): void;
  /** Every key that begins so. */
  prefix(namespace: NamespaceRules, prefix: string, lsn: Lsn): void;
  namespace(namespace: NamespaceRules, lsn: Lsn): void;
}

/**
 * Why a whole namespace is invalidated where its rules name keys or tags: TRUNCATE or too many rows to list; a column that
 * the record does not have; a value that was not sent.
 */
export type CoarseCause = 'whole-table' | 'missing-column' | 'missing-value';

/** Follows what {@link invalidate} does, for those who explain it. What the sink is told comes right after. */
export interface InvalidationTrace {
  /** Changes of a table follow; its sink calls come before the next block. */
  block(table: string, columns: readonly string[]): void;
  change(op: Op): void;
  /** The change just told invalidates all of a namespace. `columns` are those that were missing. */
  coarse(namespace: NamespaceRules, cause: CoarseCause, columns: readonly string[]): void;
  /** The block could not be read to its end: what was told of it counts, and its namespaces fall. */
  unreadable(table: string): void;
  /** No table any more: purges follow. */
  purges(): void;
}

interface TableRule {
  readonly namespace: NamespaceRules;
  readonly keys: readonly Template[];
  readonly tags: readonly Template[];
}

/** The rules of one source, by table. Immutable. */
export interface CompiledRules {
  readonly namespaces: readonly NamespaceRules[];
  readonly byName: ReadonlyMap<string, NamespaceRules>;
  /** Columns that rules use, by `schema.table`, in a stable order: all that ever leaves Postgres. */
  readonly columns: ReadonlyMap<string, readonly string[]>;
  readonly tables: ReadonlyMap<string, readonly TableRule[]>;
}

/** Compiles the rules of one source's namespaces. Throws {@link TemplateError} on a malformed template. */
export function compileRules(namespaces: readonly RulesInput[]): CompiledRules {
  const compiled: NamespaceRules[] = [];
  const byName = new Map<string, NamespaceRules>();
  const tables = new Map<string, TableRule[]>();
  const columns = new Map<string, string[]>();
  for (const input of namespaces) {
    const hash = rulesHash(input);
    const hashHex = hash.toString(16).padStart(16, '0');
    const varies = input.varies === true && { varies: true };
    const namespace = { index: compiled.length, name: input.name, hash, hashHex, ...varies };
    compiled.push(namespace);
    byName.set(input.name, namespace);
    for (const rule of input.rules) {
      const parsed = { namespace, keys: rule.keys.map(parseTemplate), tags: rule.tags.map(parseTemplate) };
      entryOf(tables, rule.table, () => []).push(parsed);
      const used = entryOf(columns, rule.table, () => []);
      for (const template of [...parsed.keys, ...parsed.tags]) {
        for (const column of template.columns) if (!used.includes(column)) used.push(column);
      }
    }
  }
  for (const used of columns.values()) used.sort();
  return { namespaces: compiled, byName, columns, tables };
}

/** What decides which row changes invalidate what, and what entries mean: two namespaces with the same hash can share entries' fate. */
export function rulesHash(input: RulesInput): bigint {
  const rules = input.rules.map(({ table, keys, tags }) => [table, keys, tags]);
  const meaning = input.meaning === undefined ? [] : [input.meaning];
  return hash64(JSON.stringify(['tidemark-rules-1', input.name, input.source, rules, ...meaning]));
}

/**
 * Tells the sink everything that a batch invalidates. Blocks of tables without a rule are skipped undecoded.
 * A block that cannot be read flushes every namespace that has a rule on its table: coarser, never silent.
 * O(changes x templates).
 */
export function invalidate(
  rules: CompiledRules,
  batch: Batch,
  sink: InvalidationSink,
  trace?: InvalidationTrace,
): { unreadable: number } {
  let unreadable = 0;
  for (const block of batch.tables) {
    const table = `${block.schema}.${block.table}`;
    const tableRules = rules.tables.get(table);
    if (tableRules === undefined) continue;
    try {
      const reader = readTableChanges(block.changes);
      trace?.block(table, reader.columns);
      invalidateTable({ rules: tableRules, reader, batch, sink, trace });
    } catch {
      unreadable += 1;
      trace?.unreadable(table);
      for (const namespace of new Set(tableRules.map((rule) => rule.namespace))) sink.namespace(namespace, batch.to);
    }
  }
  if (batch.purges.length > 0) trace?.purges();
  for (const purge of batch.purges) {
    const lsn = commitAt(batch, purge.commit);
    const targets = purge.namespace === '' ? rules.namespaces : [rules.byName.get(purge.namespace)];
    for (const namespace of targets) {
      if (namespace === undefined) continue;
      if (purge.all) sink.namespace(namespace, lsn);
      const tellKey = keyEmitter(sink, namespace);
      for (const key of purge.keys) tellKey(key, lsn);
      for (const tag of purge.tags) sink.tag(namespace, tag, lsn);
      for (const prefix of purge.prefixes ?? []) sink.prefix(namespace, prefix, lsn);
    }
  }
  return { unreadable };
}

/**
 * The tag that every variant of a key has (SPEC I20). A caller may give entries the same tag: more is evicted then, never less.
 */
export function keyTag(key: string): string {
  return `key:${key}`;
}

type Emit = (name: string, lsn: Lsn) => void;

function keyEmitter(sink: InvalidationSink, namespace: NamespaceRules): Emit {
  return namespace.varies === true
    ? (key, lsn) => sink.tag(namespace, keyTag(key), lsn)
    : (key, lsn) => sink.key(namespace, key, lsn);
}

function invalidateTable(options: {
  readonly rules: readonly TableRule[];
  readonly reader: TableChangesReader;
  readonly batch: Batch;
  readonly sink: InvalidationSink;
  readonly trace: InvalidationTrace | undefined;
}): void {
  const { rules, reader, batch, sink, trace } = options;
  const outputs = rules.flatMap(({ namespace, keys, tags }) => [
    ...keys.map((template) => output(template, reader.columns, namespace, keyEmitter(sink, namespace))),
    ...tags.map((template) =>
      output(template, reader.columns, namespace, (name, lsn) => sink.tag(namespace, name, lsn)),
    ),
  ]);
  // Whole namespaces are told once a block, at the newest position: to evict one costs far more than to evict a key.
  const coarse = new Map<NamespaceRules, Lsn>();
  reader.forEach((op, commit, before, after) => {
    const lsn = commitAt(batch, commit);
    if (trace !== undefined) trace.change(op);
    for (const out of outputs) {
      const one = op === Op.wholeTable ? whole(out) : before && render(out, before);
      const two = after && render(out, after);
      if (one === UNKNOWN || two === UNKNOWN) {
        coarse.set(out.namespace, Math.max(lsn, coarse.get(out.namespace) ?? 0));
        if (trace !== undefined) tellCoarse(trace, out, { op, rows: [before, after] });
        continue;
      }
      if (one !== undefined) out.emit(one, lsn);
      if (two !== undefined && two !== one) out.emit(two, lsn);
    }
  });
  for (const [namespace, lsn] of coarse) sink.namespace(namespace, lsn);
}

/** Why a name could not be told. */
function tellCoarse(
  trace: InvalidationTrace,
  { template, columns, namespace }: Output,
  { op, rows }: { readonly op: Op; readonly rows: readonly (Row | undefined)[] },
): void {
  if (op === Op.wholeTable) {
    trace.coarse(namespace, 'whole-table', []);
    return;
  }
  const named = (isMissing: (place: number) => boolean): string[] =>
    columns.filter((_, i) => isMissing(template.places[i] as number));
  const absent = named((place) => place < 0);
  if (absent.length > 0) trace.coarse(namespace, 'missing-column', absent);
  else {
    const unknown = named((place) => rows.some((row) => row !== undefined && row[place] === undefined));
    trace.coarse(namespace, 'missing-value', unknown);
  }
}

interface Output {
  readonly template: BoundTemplate;
  /** Names of the template's columns. */
  readonly columns: readonly string[];
  readonly namespace: NamespaceRules;
  readonly emit: Emit;
}

function output(template: Template, columns: readonly string[], namespace: NamespaceRules, emit: Emit): Output {
  return { template: bindTemplate(template, columns), columns: template.columns, namespace, emit };
}

/** Stands for a name that depends on a value nobody sent. */
const UNKNOWN = Symbol('unknown');

function render(out: Output, row: Row): string | typeof UNKNOWN {
  return renderTemplate(out.template, row) ?? UNKNOWN;
}

/** Every row of the table: only a template without columns still names one thing. */
function whole(out: Output): string | typeof UNKNOWN {
  return out.template.places.length === 0 ? (out.template.literals[0] as string) : UNKNOWN;
}

/** A commit index that points nowhere is answered with the newest position the record can hold. */
function commitAt(batch: Batch, index: number): Lsn {
  return batch.commits[index] ?? batch.to;
}

function entryOf<V>(map: Map<string, V>, key: string, make: () => V): V {
  const present = map.get(key);
  if (present !== undefined) return present;
  const made = make();
  map.set(key, made);
  return made;
}
