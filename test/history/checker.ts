import { parseLsn } from '@tidemark/proto';

/** A row inside a value, as the value shows it. A row that the value says does not exist has version 0. */
export interface SeenRow {
  readonly row: string;
  readonly version: number;
}

/** A value that a cache served, and the watermark under which it did. */
export interface Served {
  readonly sidecar: string;
  readonly key: string;
  readonly lsn: string;
  readonly rows: readonly SeenRow[];
}

/** A served row that lacks a commit which the watermark promised. */
export interface StaleRead extends SeenRow {
  readonly sidecar: string;
  readonly key: string;
  readonly lsn: string;
  readonly expectedVersion: number;
}

interface Write {
  /** At or after the commit's position. */
  readonly lsn: number;
  readonly version: number;
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
 */
export class Checker {
  /** How many served values were judged. */
  checked = 0;
  /** How many of them were stale. */
  stale = 0;
  /** The first one of each row and sidecar, at most 10. */
  readonly offences: StaleRead[] = [];
  readonly #writes = new Map<string, Write[]>();
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
  endWrite(ticket: number, nowMs: number, written?: { readonly lsn: string; readonly rows: readonly SeenRow[] }): void {
    if (written !== undefined) {
      const lsn = parseLsn(written.lsn);
      for (const { row, version } of written.rows) this.#remember(row, { lsn, version, atMs: nowMs });
    }
    this.#underWay.delete(ticket);
    this.#judgeWaiting();
  }

  /** Takes a value that a cache served. */
  served(served: Served): void {
    this.#waiting.push({ served, ticket: this.#nextTicket });
    this.#judgeWaiting();
  }

  /** Judges what still waits for a write to end. */
  finish(): void {
    this.#underWay.clear();
    this.#judgeWaiting();
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

  #judge({ sidecar, key, lsn, rows }: Served): void {
    this.checked += 1;
    const watermark = parseLsn(lsn);
    const offences = rows.flatMap((seen) => {
      const expected = this.#writes.get(seen.row)?.findLast((write) => write.lsn <= watermark);
      if (expected === undefined || seen.version >= expected.version) return [];
      return [{ sidecar, key, lsn, ...seen, expectedVersion: expected.version }];
    });
    if (offences.length === 0) return;
    this.stale += 1;
    for (const offence of offences) this.#keep(offence);
  }

  #keep(offence: StaleRead): void {
    const isKnown = this.offences.some(({ sidecar, row }) => sidecar === offence.sidecar && row === offence.row);
    if (!isKnown && this.offences.length < maxKept) this.offences.push(offence);
  }
}

export function describeStaleRead({ sidecar, key, lsn, row, version, expectedVersion }: StaleRead): string {
  return `${sidecar} served ${key} under W = ${lsn} with ${row} at version ${version}, but version ${expectedVersion} was committed at or before W`;
}
