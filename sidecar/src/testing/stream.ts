import { encodeBatch, Op, TableChangesBuilder, type CompiledRules, type Purge } from '@tidemark/proto';
import type { SourceReplica } from '../core/replica.ts';

/** Feeds a replica records that change rows of `public.users`, which has an `id`. */
export class TestStream {
  readonly #replica: SourceReplica;
  readonly #rules: CompiledRules;
  readonly #afterRecord: () => void;
  #to = 1000;

  constructor(options: { replica: SourceReplica; rules: CompiledRules; afterRecord: () => void }) {
    this.#replica = options.replica;
    this.#rules = options.rules;
    this.#afterRecord = options.afterRecord;
  }

  get to(): number {
    return this.#to;
  }

  /** @param said.visible how far readers see; everything unless told. */
  say(
    said: {
      users?: readonly string[];
      purges?: readonly Omit<Purge, 'commit'>[];
      marks?: readonly string[];
      visible?: number;
      covers?: readonly bigint[];
      epoch?: number;
    } = {},
  ): void {
    const from = this.#to;
    const commit = from + 5;
    this.#to = from + 10;
    const rows = new TableChangesBuilder(['id']);
    const { users: ids = [], purges = [], marks = [] } = said;
    const isEmpty = ids.length + purges.length + marks.length === 0;
    for (const id of ids) rows.add({ op: Op.update, commit: 0, before: [id], after: [id] });
    const bytes = encodeBatch({
      source: 'main',
      epoch: said.epoch ?? 1,
      from,
      to: this.#to,
      visible: said.visible ?? this.#to,
      committedAtUs: 0,
      publishedAtUs: 0,
      systemId: 1n,
      timeline: 1,
      heartbeat: isEmpty,
      covers: said.covers ?? this.#rules.namespaces.map(({ hash }) => hash),
      commits: isEmpty ? [] : [commit],
      tables: ids.length === 0 ? [] : [{ schema: 'public', table: 'users', changes: rows.encode() }],
      purges: purges.map((purge) => ({ ...purge, commit: 0 })),
      marks: marks.map((text) => ({ text, commit: 0 })),
    });
    this.#replica.observe(bytes);
    this.#afterRecord();
  }
}
