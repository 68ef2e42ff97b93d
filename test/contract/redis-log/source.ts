import { parseConfig, rulesOfSource, type Batch as WireBatch, type Entry, type TidemarkConfig } from '@tidemark/proto';
import type { Fence } from '@tidemark/proto/redis';
import type { Random } from './random.ts';

/** One source with three namespaces, the third without L2 for some readers of the document. */
export function documentWith(l2: readonly string[]): TidemarkConfig {
  const namespaces = ['a', 'b', 'c'].map((name) => [
    name,
    { source: 'main', l2: { enabled: l2.includes(name) }, invalidate: [{ table: 'public.t', keys: ['{id}'] }] },
  ]);
  const result = parseConfig({
    sources: { main: { topic: 't', l2: { maxFences: 1000 } } },
    namespaces: Object.fromEntries(namespaces),
  });
  if (!result.ok) throw new Error('the document is not valid');
  return result.config;
}

const RULES = rulesOfSource(documentWith([]), 'main').namespaces;
/** Namespaces under their rules, keys and tags: few, so that things meet. */
export const PAIRS = RULES.map(({ hashHex }) => hashHex);
export const NAMES = ['k1', 'k2'] as const;
export const TAGS = ['t1', 't2'] as const;

/** What one transaction invalidates in one namespace. */
interface Invalidation {
  readonly kind: 'key' | 'tag' | 'prefix' | 'all';
  readonly pair: string;
  readonly name: string;
}

interface Commit {
  readonly lsn: number;
  readonly invalidations: readonly Invalidation[];
}

/** A record in Kafka. */
export interface Batch {
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  readonly commits: readonly Commit[];
  readonly covers: ReadonlySet<string>;
}

const NAMED = { key: NAMES, tag: TAGS, prefix: [...NAMES, 'k'], all: TAGS } as const;

/** A source: what was committed, whether a record tells of it or not, and the records. */
export class Source {
  readonly #random: Random;
  readonly #truth = new Map<number, Commit[]>([[1, []]]);
  /** Oldest offset that Kafka still has. */
  earliest = 0;
  /** The topic; a record's offset is its place. */
  readonly batches: Batch[] = [{ epoch: 1, from: 0, to: 10, commits: [], covers: new Set(PAIRS) }];
  #epoch = 1;
  #lsn = 10;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Transactions commit and a record tells of them; now and then also of older ones, as a restarted publisher does. */
  publish(): string {
    const { pick, below } = this.#random;
    const last = this.batches.at(-1) as Batch;
    const again = pick(this.batches);
    const commits = this.#commit(below(3));
    const truth = this.#truth.get(this.#epoch) ?? [];
    const isRepeat = below(8) === 0 && again.epoch === this.#epoch;
    const from = isRepeat ? again.from : last.to;
    return this.#append({
      epoch: this.#epoch,
      from,
      to: this.#lsn,
      commits: isRepeat ? truth.filter(({ lsn }) => lsn > from) : commits,
      covers: new Set(PAIRS.filter(() => below(12) > 0)),
    });
  }

  /** A record never reaches Kafka: the next one leaves a gap behind. */
  lose(): string {
    const commits = this.#commit(2);
    this.#lsn += 1;
    const told = this.#append({ ...this.#empty(), from: this.#lsn });
    return `${told} without ${JSON.stringify(commits)}`;
  }

  /** Positions of the old epoch are used again for other transactions. */
  newEpoch(): string {
    this.#epoch += 1;
    this.#lsn = Math.max(1, this.#lsn - this.#random.below(12));
    this.#truth.set(this.#epoch, []);
    return this.#append({ ...this.#empty(), from: this.#lsn });
  }

  /** Positions at which a value of an epoch may have been read. */
  range(epoch: number): { readonly first: number; readonly last: number } {
    const own = this.batches.filter((batch) => batch.epoch === epoch);
    const first = own[0]?.from ?? 0;
    return { first, last: epoch === this.#epoch ? this.#lsn : (own.at(-1)?.to ?? first) };
  }

  /** Retention: the oldest records are gone for those who read Kafka. */
  forget(): string {
    this.earliest += this.#random.below(this.batches.length - this.earliest);
    return `before ${this.earliest}`;
  }

  /** A last record that covers everything. */
  heal(): void {
    this.#lsn += 1;
    this.#append({ ...this.#empty(), from: (this.batches.at(-1) as Batch).to });
  }

  /** A change that an entry does not reflect although it was committed at or before `to`. */
  missed(entry: Entry, at: { readonly pair: string; readonly name: string; readonly to: number }): Commit | undefined {
    const touches = ({ kind, pair, name }: Invalidation): boolean => {
      if (pair !== at.pair || kind === 'all') return pair === at.pair;
      if (kind === 'prefix') return at.name.startsWith(name);
      return kind === 'key' ? name === at.name : entry.tags.includes(name);
    };
    const truth = this.#truth.get(entry.epoch) ?? [];
    return truth.find(
      ({ lsn, invalidations }) => lsn > entry.asOf && lsn <= at.to && invalidations.some((one) => touches(one)),
    );
  }

  #commit(count: number): Commit[] {
    const { below, pick } = this.#random;
    const commits = Array.from({ length: count }, () => {
      this.#lsn += 1 + below(3);
      const invalidations = Array.from({ length: 1 + below(3) }, () => {
        const some = pick(['key', 'key', 'key', 'tag', 'tag', 'tag', 'all'] as const);
        const kind: Invalidation['kind'] = some === 'all' && below(2) === 0 ? 'prefix' : some;
        return { kind, pair: pick(PAIRS), name: pick(NAMED[kind]) };
      });
      return { lsn: this.#lsn, invalidations };
    });
    this.#lsn += below(2);
    this.#truth.get(this.#epoch)?.push(...commits);
    return commits;
  }

  #empty(): Batch {
    return { epoch: this.#epoch, from: this.#lsn, to: this.#lsn, commits: [], covers: new Set(PAIRS) };
  }

  #append(batch: Batch): string {
    this.batches.push(batch);
    const covers = [...batch.covers].map(nameOf).join('');
    return `${this.batches.length - 1}: epoch ${batch.epoch} (${batch.from}, ${batch.to}] for ${covers} ${JSON.stringify(batch.commits)}`;
  }
}

/** Short name of a namespace. */
export function nameOf(pair: string): string {
  return RULES.find(({ hashHex }) => hashHex === pair)?.name ?? '?';
}

/** The record as the publisher would write it, with purges for what it invalidates. */
export function wireBatch(batch: Batch): WireBatch {
  const { epoch, from, to, commits, covers } = batch;
  return {
    ...{ source: 'main', epoch, from, to, visible: to, systemId: 1n, timeline: 1, tables: [] },
    ...{ committedAtUs: 0, publishedAtUs: 0, heartbeat: commits.length === 0 },
    covers: RULES.filter(({ hashHex }) => covers.has(hashHex)).map(({ hash }) => hash),
    commits: commits.map(({ lsn }) => lsn),
    purges: commits.flatMap(({ invalidations }, commit) =>
      invalidations.map(({ kind, pair, name }) => ({
        commit,
        namespace: nameOf(pair),
        keys: kind === 'key' ? [name] : [],
        tags: kind === 'tag' ? [name] : [],
        prefixes: kind === 'prefix' ? [name] : [],
        all: kind === 'all',
      })),
    ),
  };
}

/** Fences of a record on keys or tags of some namespaces, in the order of their commits. */
export function fencesOf(batch: Batch, pairs: readonly string[]): (Fence & { readonly isKey: boolean })[] {
  return batch.commits.flatMap(({ lsn, invalidations }) =>
    invalidations
      .filter(({ kind, pair }) => (kind === 'key' || kind === 'tag') && pairs.includes(pair))
      .map(({ kind, pair, name }) => ({ pair, name, lsn, isKey: kind === 'key' })),
  );
}

/** Newest fence of a record on a whole namespace; 0 for none. */
export function namespaceFence(batch: Batch, pair: string): number {
  const fencing = batch.commits.findLast(({ invalidations }) =>
    invalidations.some((one) => (one.kind === 'all' || one.kind === 'prefix') && one.pair === pair),
  );
  return fencing?.lsn ?? 0;
}
