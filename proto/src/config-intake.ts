import type { SourceConfig, TidemarkConfig } from './config.ts';
import type { ConfigRecord, ConfigStamp } from './config-record.ts';

/** What a process works for. */
export interface SourceOf {
  readonly source: string;
  readonly sourceConfig: SourceConfig;
  readonly document: TidemarkConfig;
}

/** What takes documents, and what it says of each; `isNew` where anything is different. */
export interface Taker<T extends { readonly isNew: boolean }> {
  take(document: TidemarkConfig): T;
}

export interface ConfigIntakeOptions<T extends { readonly isNew: boolean }> {
  /** The only source that is taken; undefined: the one that the first document names. */
  readonly source: string | undefined;
  /** Builds what serves the source; called once, with the first document. The answer takes each document, the first one too. */
  readonly begin: (first: SourceOf) => Taker<T>;
  readonly events: ConfigEvents<T>;
}

export interface ConfigEvents<T> {
  taken(what: T, stamp: ConfigStamp): void;
  /** Nothing of it was taken. */
  refused(why: string, stamp: ConfigStamp): void;
  /** Its namespaces were taken, but settings of the source are other than those that the process began with. */
  differs(settings: readonly string[], stamp: ConfigStamp): void;
}

/** Decides what of each document is taken at run time: namespaces are, the source and its settings are those of the start (SPEC I16). */
export class ConfigIntake<T extends { readonly isNew: boolean }> {
  readonly counters = { applied: 0, unchanged: 0, refused: 0 };
  readonly #options: ConfigIntakeOptions<T>;
  #running: { readonly of: SourceOf; readonly taker: Taker<T> } | undefined;
  #stamp: ConfigStamp | undefined;
  #complaint: string | undefined;

  constructor(options: ConfigIntakeOptions<T>) {
    this.#options = options;
  }

  /** Of the document that is served; undefined while there is none. */
  get stamp(): ConfigStamp | undefined {
    return this.#stamp;
  }

  /** What of the newest document was not taken, and why, for a person; undefined where all of it was. */
  get complaint(): string | undefined {
    return this.#complaint;
  }

  offer(record: Pick<ConfigRecord, 'config' | 'source' | keyof ConfigStamp>): void {
    const { source, config: document, term, revision } = record;
    const { events } = this.#options;
    const stamp = { term, revision };
    const wanted = this.#running?.of.source ?? this.#options.source ?? source;
    const sourceConfig = Object.hasOwn(document.sources, wanted) ? document.sources[wanted] : undefined;
    if (sourceConfig === undefined) {
      this.#complaint = `the document is for source ${source}, expected ${wanted}: the namespaces of before stay`;
      this.counters.refused += 1;
      events.refused(this.#complaint, stamp);
      return;
    }
    const of = { source: wanted, sourceConfig, document };
    this.#running ??= { of, taker: this.#options.begin(of) };
    const taken = this.#running.taker.take(document);
    this.#stamp = stamp;
    this.counters[taken.isNew ? 'applied' : 'unchanged'] += 1;
    events.taken(taken, stamp);
    const differing = differencesOf(this.#running.of.sourceConfig, sourceConfig);
    this.#complaint =
      differing.length === 0
        ? undefined
        : `sources.${wanted}: ${differing.join(', ')} differ from those of the start, which stay until a restart`;
    if (differing.length > 0) {
      this.counters.refused += 1;
      events.differs(differing, stamp);
    }
  }
}

function differencesOf(a: SourceConfig, b: SourceConfig): readonly string[] {
  return [
    ...(a.topic === b.topic ? [] : ['topic']),
    ...(a.l2.buckets === b.l2.buckets ? [] : ['l2.buckets']),
    ...(a.l2.maxFences === b.l2.maxFences ? [] : ['l2.maxFences']),
  ];
}
