import {
  invalidate,
  rulesOfSource,
  type CompiledRules,
  type DecodedBatch,
  type Lsn,
  type NamespaceRules,
  type Span,
  type TidemarkConfig,
} from '@tidemark/proto';
import { FenceSet } from './applier-fences.ts';

/** The namespaces whose invalidations are applied, and what names them in a log's header. */
export interface AppliedSet {
  readonly namespaces: readonly NamespaceRules[];
  readonly digest: string;
}

/** A record of the topic, decoded; undefined when it is no readable batch. */
export interface SourceRecord {
  readonly offset: number;
  readonly decoded: DecodedBatch | undefined;
}

/** One or more records that follow one another and are applied by the same calls. */
export interface Group extends Span {
  readonly kind: 'group';
  readonly visible: Lsn;
  readonly nextOffset: number;
  readonly applied: AppliedSet;
  readonly fences: FenceSet;
  /** Its contents are for newer readers: only its place in the stream is known. */
  readonly isTooNew: boolean;
  readonly records: number;
  /** When the last of its records was made, by the clock of the publisher; microseconds since 1970, 0 when unknown. */
  readonly publishedAtUs: number;
}

/** A record that nobody can read: what comes next cannot be known to follow what came before. */
export interface Unreadable {
  readonly kind: 'unreadable';
  readonly offset: number;
}

/** Decides which namespaces of a source are applied, and puts records together. */
export class RecordGrouper {
  readonly #rules: CompiledRules;
  readonly #own: readonly NamespaceRules[];
  readonly #maxNames: number;
  readonly #maxGroupNames: number;
  #covers: readonly bigint[] | undefined;
  #applied: AppliedSet = appliedSet([]);

  /**
   * @param options.maxNames names of a namespace beyond which it is fenced as a whole
   * @param options.maxGroupNames names at which a group is closed; one record alone may have more
   */
  constructor(options: {
    readonly config: TidemarkConfig;
    readonly source: string;
    readonly maxNames: number;
    readonly maxGroupNames: number;
  }) {
    const { config, source } = options;
    this.#rules = rulesOfSource(config, source);
    this.#own = this.#rules.namespaces.filter(({ name }) => config.namespaces[name]?.l2.enabled === true);
    this.#maxNames = options.maxNames;
    this.#maxGroupNames = options.maxGroupNames;
  }

  /** Groups of records that were read one after another, in their order. */
  *group(records: Iterable<SourceRecord>): Generator<Group | Unreadable> {
    let open: Group | undefined;
    for (const { offset, decoded } of records) {
      if (decoded === undefined) {
        if (open !== undefined) yield open;
        open = undefined;
        yield { kind: 'unreadable', offset };
        continue;
      }
      const span: Span = decoded.kind === 'batch' ? decoded.batch : decoded.span;
      const visible = decoded.kind === 'batch' ? decoded.batch.visible : decoded.visible;
      const applied = this.#appliedBy(decoded);
      const joins =
        open !== undefined &&
        decoded.kind === 'batch' &&
        !open.isTooNew &&
        open.epoch === span.epoch &&
        open.applied === applied &&
        span.from === open.to &&
        open.fences.size < this.#maxGroupNames;
      if (open !== undefined && !joins) yield open;
      const before: Group | undefined = joins ? open : undefined;
      const fences = before?.fences ?? new FenceSet({ namespaces: applied.namespaces, maxNames: this.#maxNames });
      if (decoded.kind === 'batch') invalidate(this.#rules, decoded.batch, fences);
      open = {
        kind: 'group',
        epoch: span.epoch,
        from: before?.from ?? span.from,
        to: span.to,
        visible: Math.max(before?.visible ?? 0, visible),
        nextOffset: offset + 1,
        applied,
        fences,
        isTooNew: decoded.kind === 'too-new',
        records: (before?.records ?? 0) + 1,
        publishedAtUs: decoded.kind === 'batch' ? decoded.batch.publishedAtUs : 0,
      };
    }
    if (open !== undefined) yield open;
  }

  /** Own rules that the publisher of the record serves (SPEC I8). */
  #appliedBy(decoded: DecodedBatch): AppliedSet {
    const covers = decoded.kind === 'batch' ? decoded.batch.covers : [];
    if (this.#covers === undefined || !isSame(this.#covers, covers)) {
      this.#covers = covers;
      const namespaces = this.#own.filter(({ hash }) => covers.includes(hash));
      const digest = digestOf(namespaces);
      if (digest !== this.#applied.digest) this.#applied = { namespaces, digest };
    }
    return this.#applied;
  }
}

function appliedSet(namespaces: readonly NamespaceRules[]): AppliedSet {
  return { namespaces, digest: digestOf(namespaces) };
}

/** Equal for equal sets of rules, whatever their order. The hashes have 64 bits already, so they need no further mixing. */
function digestOf(namespaces: readonly NamespaceRules[]): string {
  const mixed = namespaces.reduce((all, { hash }) => all ^ hash, 0n);
  return `${namespaces.length}-${mixed.toString(16)}`;
}

function isSame(a: readonly bigint[], b: readonly bigint[]): boolean {
  return a === b || (a.length === b.length && a.every((hash, i) => hash === b[i]));
}
