import type { ValueFrom } from '../../../sidecar/src/core/flights.ts';
import { isPurged, loadedFrom, MAX_STALENESS_MS, type KeySpec, type Loaded } from './keys.ts';
import type { Topic, TopicRecord } from './kafka.ts';
import type { Server, WalRecord } from './postgres.ts';

/** What a sidecar says that it knows, and what it has really been told. */
export interface Standpoint {
  readonly epoch: number;
  readonly applied: number;
  readonly visible: number;
  /** The newest record that moved it; undefined while it has none. */
  readonly record: TopicRecord | undefined;
  /** The newest record whose claims it has learned. */
  readonly seq: number;
}

/** Where values come from here. */
export type ServedFrom = Exclude<ValueFrom, 'pending'>;
/** How many values were served, by where they came from. */
export type Served = Record<ServedFrom, number>;

export function noneServed(): Served {
  return { l1: 0, l2: 0, coalesced: 0, loaded: 0, passed: 0, stale: 0, grace: 0 };
}

/** Knows every version of every row, and what each sidecar has heard. */
export class Oracle {
  readonly #topic: Topic;
  readonly #primary: () => Server;
  readonly #nowMs: () => number;
  readonly served: Served = noneServed();
  readonly violations: string[] = [];
  /** Of each epoch how far its records reach. */
  readonly #reached = new Map<number, number>();
  /** Purges that were acknowledged. */
  readonly #acknowledged: WalRecord[] = [];

  constructor(options: { topic: Topic; primary: () => Server; nowMs: () => number }) {
    this.#topic = options.topic;
    this.#primary = options.primary;
    this.#nowMs = options.nowMs;
  }

  /** SPEC I1: a publisher leaves no hole in an epoch. */
  appended({ batch }: TopicRecord): void {
    const { epoch, from, to, commits } = batch;
    const reached = this.#reached.get(epoch);
    // Where Kafka has lost an epoch, and the clock stands behind its number, the next one gets the same: to readers a gap.
    const isAnnouncement = from === to && commits.length === 0;
    if (reached !== undefined && from > reached && !isAnnouncement)
      this.#fail(`the publisher wrote (${from}, ${to}] into epoch ${epoch}, which ended at ${reached}`);
    this.#reached.set(epoch, Math.max(reached ?? 0, to));
  }

  acknowledged(purge: WalRecord): void {
    this.#acknowledged.push(purge);
  }

  /** SPEC I3: V <= W, and every published change up to V can be seen. */
  moved(name: string, { applied, visible, record }: Standpoint): void {
    if (visible > applied) this.#fail(`${name} has V ${visible} above W ${applied}`);
    const server = record?.server;
    for (const hidden of server?.hidden ?? [])
      if (hidden.end <= visible && hidden.rows.some(({ sent }) => sent))
        this.#fail(`${name} has V ${visible}, but the commit at ${hidden.end} is not visible`);
  }

  /**
   * SPEC I6: what was applied is in everything that is served afterwards, and what is served is not too old (I9). `at` is the
   * standpoint of the moment, or of when the caller asked where the value was loaded for him and is not kept.
   */
  value(options: { name: string; at: Standpoint; spec: KeySpec; body: Uint8Array; from: ServedFrom }): void {
    const { name, at, spec, from } = options;
    this.served[from] += 1;
    // Promises nothing.
    if (from === 'grace') return;
    const loaded = loadedFrom(options.body);
    const where = `${name} serves ${spec.namespace}/${spec.key} from ${from}`;
    const missed = this.#missed({ spec, loaded, at, record: at.record });
    if (missed !== undefined) this.#fail(`${where} without ${missed} under W ${at.applied}`);
    const old = this.#newestRecordBefore(this.#nowMs() - MAX_STALENESS_MS);
    // A process that starts takes the newest record for the publisher's own. README.md says what that leaves open.
    if (old === undefined || old.batch.epoch > at.epoch) return;
    const { batch, seq } = old;
    const unheard = this.#missed({ spec, loaded, at: { applied: batch.to, seq }, record: old });
    if (unheard !== undefined) this.#fail(`${where} without ${unheard}, which Kafka has had for longer than allowed`);
  }

  /** Whether what was loaded is from before a purge of it that was acknowledged (SPEC I11). */
  lacksPurge(spec: KeySpec, { readAt }: Loaded): boolean {
    return this.#acknowledged.some(({ id, purges }) => readAt < id && purges.some((purge) => isPurged(spec, purge)));
  }

  /** The newest change of a key, at or before a position, that what was loaded does not reflect. */
  #missed(options: {
    spec: KeySpec;
    loaded: Loaded;
    at: Pick<Standpoint, 'applied' | 'seq'>;
    record: TopicRecord | undefined;
  }): string | undefined {
    const { spec, loaded, at, record } = options;
    if (record === undefined) return undefined;
    const { server } = record;
    const { wal } = server;
    let rowsLeft = spec.rows.length;
    const seen = new Set<string>();
    for (let i = wal.length - 1; i >= 0; i--) {
      const change = wal[i] as WalRecord;
      // What vanished with its server binds nobody.
      if (!this.#primary().contains(change)) continue;
      const isApplied = server.positionOf(change) <= at.applied;
      if (isApplied && loaded.readAt < change.id && change.purges.some((purge) => isPurged(spec, purge)))
        return `the purge ${change.id} at ${change.end}`;
      if (rowsLeft === 0) continue;
      for (const { row, sent } of change.rows) {
        const place = spec.rows.indexOf(row);
        if (place < 0 || seen.has(row) || !(sent ? isApplied : isToldOf(change, at, record))) continue;
        seen.add(row);
        rowsLeft -= 1;
        const found = loaded.versions[place] ?? 0;
        if (!this.#reflects(found, change))
          return `change ${change.id} of row ${row} at ${change.end} (found ${found})`;
      }
    }
    return undefined;
  }

  /** Whether the state that a version was part of had a change behind it. */
  #reflects(version: number, change: WalRecord): boolean {
    if (version === change.id) return true;
    if (version < change.id) return false;
    const found = this.#primary().wal.find(({ id }) => id === version);
    // A later one that has vanished is younger than the change, or else the change would have vanished as well.
    return found === undefined || found.server.contains(change);
  }

  #newestRecordBefore(atMs: number): TopicRecord | undefined {
    let newest: TopicRecord | undefined;
    for (const record of this.#topic.records) {
      if (record.atMs > atMs) break;
      const { epoch, to } = record.batch;
      if (newest === undefined || epoch > newest.batch.epoch || (epoch === newest.batch.epoch && to >= newest.batch.to))
        newest = record;
    }
    return newest;
  }

  #fail(what: string): void {
    this.violations.push(what);
  }
}

/** Whether a sidecar has been told of a change that is not in the stream. */
function isToldOf({ announcedBy }: WalRecord, at: Pick<Standpoint, 'applied' | 'seq'>, record: TopicRecord): boolean {
  if (announcedBy === undefined) return false;
  const { server, batch } = record;
  if (announcedBy.kind === 'record') return announcedBy.epoch === batch.epoch && announcedBy.seq <= at.seq;
  return server.contains(announcedBy.purge) && server.positionOf(announcedBy.purge) <= at.applied;
}
