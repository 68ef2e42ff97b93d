import { parseTemplate, type CompiledRules, type NamespaceRules, type RuleConfig } from '@tidemark/proto';
import type { Fall, FallCause, ReplayOutput } from './engine.ts';

/** Different names are counted exactly up to so many a namespace and kind; then "at least". */
const MAX_NAMES = 100_000;

/** A number of different names. */
export interface Distinct {
  readonly count: number;
  /** Whether there are perhaps more. */
  readonly isCapped: boolean;
}

/** Why a namespace fell, and in how many records that was so. */
export interface FallSum extends Fall {
  readonly times: number;
}

/** What is known of a column that a rule needs. */
export interface RuleColumns {
  readonly table: string;
  /** Changes of the table that were seen. */
  readonly changes: number;
  /** Columns that no record has. */
  readonly missing: readonly string[];
  /** Columns that only some records have. */
  readonly partlyMissing: readonly string[];
}

export interface NamespaceSum {
  readonly namespace: string;
  readonly rulesHash: string;
  /** Whether the publisher served exactly these rules: in all records, some or none. */
  readonly served: 'all' | 'some' | 'none';
  readonly keys: number;
  readonly tags: number;
  /** Purges of what begins with something. */
  readonly prefixes: number;
  /** Records that invalidate all of it. */
  readonly falls: number;
  readonly distinctKeys: Distinct;
  readonly distinctTags: Distinct;
  readonly why: readonly FallSum[];
  readonly rules: readonly RuleColumns[];
}

interface Sum {
  keys: number;
  tags: number;
  prefixes: number;
  falls: number;
  readonly keyNames: Set<string>;
  readonly tagNames: Set<string>;
  readonly why: Map<string, { readonly cause: FallCause; readonly columns: readonly string[]; times: number }>;

  wasServed: boolean;
  wasUnserved: boolean;
}

interface TableSum {
  changes: number;
  blocks: number;
  /** In how many blocks a column was. */
  readonly columns: Map<string, number>;
}

/** Counts what a replay tells. Memory is bounded: so many names and no more. */
export class Tally implements ReplayOutput {
  readonly #rules: CompiledRules;
  readonly #configs: ReadonlyMap<string, readonly RuleConfig[]>;
  readonly #sums: Sum[];
  readonly #tables = new Map<string, TableSum>();
  readonly #maxNames: number;
  #table: TableSum | undefined;

  /** @param options.configs the rules of each namespace as they are configured */
  constructor(options: {
    readonly rules: CompiledRules;
    readonly configs: ReadonlyMap<string, readonly RuleConfig[]>;
    readonly maxNames?: number;
  }) {
    this.#rules = options.rules;
    this.#configs = options.configs;
    this.#maxNames = options.maxNames ?? MAX_NAMES;
    this.#sums = options.rules.namespaces.map(() => ({
      ...{ keys: 0, tags: 0, prefixes: 0, falls: 0, keyNames: new Set(), tagNames: new Set(), why: new Map() },
      ...{ wasServed: false, wasUnserved: false },
    }));
  }

  key({ index }: NamespaceRules, key: string): void {
    const sum = this.#sums[index] as Sum;
    sum.keys += 1;
    if (sum.keyNames.size < this.#maxNames) sum.keyNames.add(key);
  }

  tag({ index }: NamespaceRules, tag: string): void {
    const sum = this.#sums[index] as Sum;
    sum.tags += 1;
    if (sum.tagNames.size < this.#maxNames) sum.tagNames.add(tag);
  }

  prefix({ index }: NamespaceRules): void {
    (this.#sums[index] as Sum).prefixes += 1;
  }

  namespace({ index }: NamespaceRules, _lsn: number, falls: readonly Fall[]): void {
    const sum = this.#sums[index] as Sum;
    sum.falls += 1;
    for (const { cause, columns } of falls) {
      const name = `${cause} ${columns.join()}`;
      const known = sum.why.get(name);
      if (known === undefined) sum.why.set(name, { cause, columns, times: 1 });
      else known.times += 1;
    }
  }

  block(table: string, columns: readonly string[]): void {
    let sum = this.#tables.get(table);
    if (sum === undefined) {
      sum = { changes: 0, blocks: 0, columns: new Map() };
      this.#tables.set(table, sum);
    }
    sum.blocks += 1;
    for (const column of columns) sum.columns.set(column, (sum.columns.get(column) ?? 0) + 1);
    this.#table = sum;
  }

  change(): void {
    if (this.#table !== undefined) this.#table.changes += 1;
  }

  covers(hashes: readonly bigint[]): void {
    for (const { index, hash } of this.#rules.namespaces) {
      const sum = this.#sums[index] as Sum;
      if (hashes.includes(hash)) sum.wasServed = true;
      else sum.wasUnserved = true;
    }
  }

  sums(): NamespaceSum[] {
    return this.#rules.namespaces.map(({ index, name, hashHex }) => {
      const sum = this.#sums[index] as Sum;
      return {
        namespace: name,
        rulesHash: hashHex,
        served: !sum.wasServed ? 'none' : sum.wasUnserved ? 'some' : 'all',
        keys: sum.keys,
        tags: sum.tags,
        prefixes: sum.prefixes,
        falls: sum.falls,
        distinctKeys: this.#distinct(sum.keyNames),
        distinctTags: this.#distinct(sum.tagNames),
        why: [...sum.why.values()].toSorted((a, b) => b.times - a.times),
        rules: (this.#configs.get(name) ?? []).map((rule) => this.#columnsOf(rule)),
      };
    });
  }

  /** The different names of a namespace, as many as were kept; undefined for a namespace that it does not have. */
  names(namespace: string): { readonly keys: ReadonlySet<string>; readonly tags: ReadonlySet<string> } | undefined {
    const rules = this.#rules.byName.get(namespace);
    const sum = rules && this.#sums[rules.index];
    return sum && { keys: sum.keyNames, tags: sum.tagNames };
  }

  #distinct(names: ReadonlySet<string>): Distinct {
    return { count: names.size, isCapped: names.size >= this.#maxNames };
  }

  #columnsOf({ table, keys, tags }: RuleConfig): RuleColumns {
    const seen = this.#tables.get(table);
    const needed = columnsNamed([...keys, ...tags]);
    const blocks = seen?.blocks ?? 0;
    const inBlocks = (column: string): number => seen?.columns.get(column) ?? 0;
    return {
      table,
      changes: seen?.changes ?? 0,
      missing: blocks === 0 ? [] : needed.filter((column) => inBlocks(column) === 0),
      partlyMissing: needed.filter((column) => inBlocks(column) > 0 && inBlocks(column) < blocks),
    };
  }
}

function columnsNamed(templates: readonly string[]): string[] {
  return [...new Set(templates.flatMap((template) => parseTemplate(template).columns))];
}
