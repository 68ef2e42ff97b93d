import { parseLsn } from '@tidemark/proto';

/** A row inside a value, as the value shows it. A row that the value says does not exist has version 0. */
export interface SeenRow {
  readonly row: string;
  readonly version: number;
  /** The timeline of the server on which this version was written (default 1: never was a standby promoted). */
  readonly timeline?: number;
  /** Whether it was loaded from a standby, which shows commits that the primary still holds back. */
  readonly isOfStandby?: boolean;
}

/** A value that a cache served, and the watermark under which it did. */
export interface Served {
  readonly sidecar: string;
  readonly key: string;
  readonly lsn: string;
  readonly rows: readonly SeenRow[];
  /** The timeline whose positions the watermark counts (default 1). */
  readonly timeline?: number;
}

/** What is wrong with a served row: it lacks a commit that the watermark promised, or shows one that a promotion has undone. */
export type Fault = 'stale' | 'undone';

export interface StaleRead extends SeenRow {
  readonly fault: Fault;
  readonly sidecar: string;
  readonly key: string;
  readonly lsn: string;
  /** The oldest version that would have been right, or of `undone` ones the newest. */
  readonly expectedVersion: number;
  /** What promised it. */
  readonly promise: 'commit' | 'purge' | 'promotion';
}

/** What was committed, and from where on it must be seen. */
export interface Written {
  /** At or after the commit's position. */
  readonly lsn: string;
  readonly rows: readonly SeenRow[];
  /** `purge`: the rows are in no rule, so that not their commit but a later purge promises them; `lsn` is the purge's. */
  readonly promise?: 'commit' | 'purge';
}

/** A standby became the primary. */
export interface Promotion {
  /** The new timeline. */
  readonly timeline: number;
  /** Where it left the one before. */
  readonly switchLsn: string;
  /** The newest version of each row that came over. */
  readonly survivors: ReadonlyMap<string, number>;
}

interface Write {
  readonly lsn: number;
  readonly version: number;
  readonly timeline: number;
  readonly promise: 'commit' | 'purge';
  readonly atMs: number;
}

interface Waiting {
  readonly served: Served;
  /** Writes that began before this number may be in the value. */
  readonly ticket: number;
}

const keepMs = 60_000;
const maxWaiting = 20_000;
const maxKept = 10;

/**
 * Compares what caches served with what was committed, under the protocol's rule: a value served at watermark W reflects
 * every commit at or before W (SPEC I6). Versions of a row rise with each commit. A write is known by an upper bound of its
 * commit's position, so a value is never blamed for a commit that it need not show.
 *
 * A served value is judged once every write that was under way when it came is known: a commit that its writer has not
 * yet heard of must not go unseen. Memory is bounded: writes older than a minute are forgotten, but for the newest of a row.
 *
 * Positions of two timelines are compared as the server's history says: what was committed on the old one up to the switch
 * belongs to both, what was committed there later is undone and nobody need show it.
 */
export class Checker {
  /** How many served values were judged. */
  checked = 0;
  /** How many of them were wrong. */
  stale = 0;
  /** The first one of each row and sidecar, at most 10. */
  readonly offences: StaleRead[] = [];
  readonly #writes = new Map<string, Write[]>();
  readonly #promotions: (Promotion & { readonly endLsn: number })[] = [];
  readonly #underWay = new Set<number>();
  #nextTicket = 0;
  #waiting: Waiting[] = [];
  #judged = 0;

  /** Call it before a write is sent; the answer goes to {@link endWrite}, whatever came of it. */
  beginWrite(): number {
    this.#underWay.add(this.#nextTicket);
    return this.#nextTicket++;
  }

  /** @param written what was committed; undefined when it is not known whether anything was */
  endWrite(ticket: number, nowMs: number, written?: Written): void {
    if (written !== undefined) {
      const lsn = parseLsn(written.lsn);
      for (const { row, version, timeline = 1 } of written.rows) {
        const write = { lsn, version, timeline, promise: written.promise ?? ('commit' as const), atMs: nowMs };
        if (!this.#isUndone(write)) this.#remember(row, write);
      }
    }
    this.#underWay.delete(ticket);
    this.#judgeWaiting();
  }

  /** Takes a value that a cache served. */
  served(served: Served): void {
    this.#waiting.push({ served, ticket: this.#nextTicket });
    this.#judgeWaiting();
  }

  /** A new timeline has begun: commits that did not come over are no longer asked for. */
  promoted(promotion: Promotion): void {
    this.#promotions.push({ ...promotion, endLsn: parseLsn(promotion.switchLsn) });
    for (const [row, writes] of this.#writes) {
      this.#writes.set(
        row,
        writes.filter((write) => !this.#isUndone(write)),
      );
    }
  }

  /** Judges what still waits for a write to end. */
  finish(): void {
    this.#underWay.clear();
    this.#judgeWaiting();
  }

  #isUndone({ timeline, lsn }: Pick<Write, 'timeline' | 'lsn'>): boolean {
    return this.#promotions.some((promotion) => timeline < promotion.timeline && lsn > promotion.endLsn);
  }

  #remember(row: string, write: Write): void {
    const known = this.#writes.get(row) ?? [];
    // Later versions were committed later: a bound that is no lower than a later version's says nothing.
    if (known.some((other) => other.version >= write.version && other.lsn <= write.lsn)) return;
    const kept = known.filter((other) => other.version < write.version && other.lsn < write.lsn);
    const newer = known.filter((other) => other.version > write.version);
    const fresh = kept.filter((other) => other.atMs > write.atMs - keepMs);
    this.#writes.set(row, [...fresh, write, ...newer]);
  }

  #judgeWaiting(): void {
    const [oldest = this.#nextTicket] = this.#underWay;
    const waiting = this.#waiting;
    while (this.#judged < waiting.length) {
      const next = waiting[this.#judged] as Waiting;
      if (next.ticket > oldest && waiting.length - this.#judged <= maxWaiting) break;
      this.#judged += 1;
      this.#judge(next.served);
    }
    if (this.#judged === waiting.length || this.#judged > maxWaiting) {
      this.#waiting = waiting.slice(this.#judged);
      this.#judged = 0;
    }
  }

  #judge(served: Served): void {
    this.checked += 1;
    const offences = served.rows.flatMap((seen) => this.#faultOf(served, seen) ?? []);
    if (offences.length === 0) return;
    this.stale += 1;
    for (const offence of offences) this.#keep(offence);
  }

  #faultOf(served: Served, seen: SeenRow): StaleRead | undefined {
    const { sidecar, key, lsn, timeline = 1 } = served;
    const watermark = parseLsn(lsn);
    const expected = this.#writes
      .get(seen.row)
      ?.findLast((write) => write.lsn <= watermark && write.timeline <= timeline);
    if (expected !== undefined && seen.version < expected.version) {
      const { promise, version: expectedVersion } = expected;
      return { fault: 'stale', sidecar, key, lsn, ...seen, expectedVersion, promise };
    }
    for (const promotion of this.#promotions) {
      const survivor = promotion.survivors.get(seen.row) ?? 0;
      const isOlder = (seen.timeline ?? 1) < promotion.timeline && promotion.timeline <= timeline;
      if (isOlder && seen.version > survivor)
        return { fault: 'undone', sidecar, key, lsn, ...seen, expectedVersion: survivor, promise: 'promotion' };
    }
    return undefined;
  }

  #keep(offence: StaleRead): void {
    const isKnown = this.offences.some(({ sidecar, row }) => sidecar === offence.sidecar && row === offence.row);
    if (!isKnown && this.offences.length < maxKept) this.offences.push(offence);
  }
}

export function describeStaleRead(read: StaleRead): string {
  const { fault, sidecar, key, lsn, row, version, expectedVersion, promise } = read;
  const served = `${sidecar} served ${key} under W = ${lsn} with ${row} at version ${version}`;
  if (fault === 'undone') return `${served}, which a promotion has undone: version ${expectedVersion} came over`;
  const what = promise === 'purge' ? 'purged with acknowledgement' : 'committed';
  return `${served}, but version ${expectedVersion} was ${what} at or before W`;
}
