import { type Batch, type CompiledRules, type Entry, invalidate, type NamespaceRules } from '@tidemark/proto';
import type { L2FillResult, L2Found } from '../../sidecar/src/core/ports.ts';

interface Pair {
  readonly from: number;
  fence: number;
}

interface Log {
  generation: number;
  epoch: number;
  from: number;
  tagFrom: number;
  to: number;
  offset: number;
  keys: Map<string, number>;
  tags: Map<string, number>;
  pairs: Map<string, Pair>;
}

/** A Redis with one fence log and its applier: what the scripts in proto/src/redis do, told once more in few words. */
export class L2Model {
  readonly #rules: CompiledRules;
  #log: Log | undefined;
  #entries = new Map<string, Entry>();
  #generations = 0;
  #offset = 0;

  constructor(rules: CompiledRules) {
    this.#rules = rules;
  }

  /** The applier takes the next record. */
  applyNext(topic: readonly Batch[]): void {
    const batch = topic[this.#offset];
    if (batch === undefined) return;
    const log = this.#log;
    if (log === undefined || log.epoch < batch.epoch) {
      this.#begin(batch);
    } else if (log.epoch > batch.epoch || batch.to <= log.to) {
      log.offset = this.#offset + 1;
    } else if (batch.from > log.to) {
      // A hole. Redis has gone back in time: read Kafka again from where the log stands. Kafka has it: nothing trims here.
      if (log.offset < this.#offset) {
        this.#offset = log.offset;
        return;
      }
      this.#begin(batch);
    } else {
      this.#apply(log, batch);
    }
    this.#offset += 1;
  }

  flush(): void {
    this.#log = undefined;
    this.#entries.clear();
  }

  /** What {@link restore} brings back. */
  snapshot(): () => void {
    const log = structuredClone(this.#log);
    const entries = new Map(this.#entries);
    return () => {
      this.#log = structuredClone(log);
      this.#entries = new Map(entries);
    };
  }

  /** Only the log is evicted. */
  loseLog(): void {
    this.#log = undefined;
  }

  /** The memory of fences is short: everything older than the newest of them is forgotten. */
  trim(): void {
    if (this.#log === undefined) return;
    this.#log.from = this.#log.to;
    this.#log.tagFrom = this.#log.to;
    this.#log.keys.clear();
    this.#log.tags.clear();
  }

  read(namespace: NamespaceRules, key: string, generation: string): L2Found {
    const log = this.#log;
    if (log === undefined) return { entry: undefined, generation, context: { log: undefined, pair: undefined } };
    const pair = log.pairs.get(namespace.hashHex);
    const context = {
      log: `1 g${log.generation} a ${log.epoch} ${log.from} ${log.tagFrom} ${log.to} ${log.to} ${log.offset} d -`,
      pair: pair === undefined ? undefined : `a ${pair.from} ${pair.fence}`,
    };
    let entry = this.#entries.get(nameOf(generation, namespace, key));
    const isOld = (tag: string): boolean => (log.tags.get(`${namespace.hashHex}:${tag}`) ?? 0) > (entry?.asOf ?? 0);
    if (entry !== undefined && entry.tags.length > 0 && (entry.asOf < log.tagFrom || entry.tags.some(isOld)))
      entry = undefined;
    return { entry, generation, context };
  }

  /** The generation that a fill would be written under. */
  get generation(): string {
    return `g${this.#log?.generation ?? 0}`;
  }

  fill(namespace: NamespaceRules, key: string, written: { entry: Entry; generation: string }): L2FillResult {
    const { entry, generation } = written;
    const log = this.#log;
    if (log === undefined) return 'missing';
    if (`g${log.generation}` !== generation || log.epoch !== entry.epoch) return 'changed';
    const pair = log.pairs.get(namespace.hashHex);
    if (pair === undefined) return 'unknown';
    if (entry.asOf < log.from || entry.asOf < pair.from || (entry.tags.length > 0 && entry.asOf < log.tagFrom))
      return 'old';
    const fences = [
      pair.fence,
      log.keys.get(`${namespace.hashHex}:${key}`),
      ...entry.tags.map((tag) => log.tags.get(`${namespace.hashHex}:${tag}`)),
    ];
    if (fences.some((fence) => fence !== undefined && fence > entry.asOf)) return 'fenced';
    const name = nameOf(generation, namespace, key);
    if ((this.#entries.get(name)?.asOf ?? 0) > entry.asOf) return 'newer';
    this.#entries.set(name, entry);
    return 'ok';
  }

  #begin(batch: Batch): void {
    this.#generations += 1;
    const pairs = new Map(coveredBy(this.#rules, batch).map(({ hashHex }) => [hashHex, { from: batch.to, fence: 0 }]));
    const position = { from: batch.to, tagFrom: batch.to, to: batch.to, offset: this.#offset + 1 };
    this.#log = {
      generation: this.#generations,
      epoch: batch.epoch,
      ...position,
      keys: new Map(),
      tags: new Map(),
      pairs,
    };
  }

  #apply(log: Log, batch: Batch): void {
    // Another adoption, where the publisher covers other namespaces than before.
    const { to } = log;
    log.pairs = new Map(
      coveredBy(this.#rules, batch).map(({ hashHex }) => [hashHex, log.pairs.get(hashHex) ?? { from: to, fence: 0 }]),
    );
    const fall = (namespace: NamespaceRules, lsn: number): void => {
      const pair = log.pairs.get(namespace.hashHex);
      if (pair !== undefined) pair.fence = Math.max(pair.fence, lsn);
    };
    invalidate(this.#rules, batch, {
      key: (namespace, key, lsn) => {
        raise(log.keys, `${namespace.hashHex}:${key}`, lsn);
        const name = nameOf(`g${log.generation}`, namespace, key);
        if ((this.#entries.get(name)?.asOf ?? lsn) < lsn) this.#entries.delete(name);
      },
      tag: (namespace, tag, lsn) => raise(log.tags, `${namespace.hashHex}:${tag}`, lsn),
      prefix: (namespace, _prefix, lsn) => fall(namespace, lsn),
      namespace: fall,
    });
    log.to = batch.to;
    log.offset = this.#offset + 1;
  }
}

function coveredBy(rules: CompiledRules, batch: Batch): readonly NamespaceRules[] {
  return rules.namespaces.filter(({ hash }) => batch.covers.includes(hash));
}

function nameOf(generation: string, namespace: NamespaceRules, key: string): string {
  return `${generation}:${namespace.hashHex}:${key}`;
}

function raise(fences: Map<string, number>, name: string, lsn: number): void {
  fences.set(name, Math.max(fences.get(name) ?? 0, lsn));
}
