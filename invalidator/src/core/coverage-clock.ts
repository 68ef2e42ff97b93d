import type { Lsn } from '@tidemark/proto';

/** One look at the catalog. */
export interface CoverageCheck {
  /** Hashes of the namespaces that the catalog's state serves, and served without a break since the last look. */
  readonly served: ReadonlySet<bigint>;
  /** pg_snapshot_xmin of the look: every transaction with a lower id had ended. */
  readonly oldestXid: bigint;
  /** WAL position read after the look. */
  readonly insertLsn: Lsn;
}

/** Since when a namespace is served: a position, or not before this transaction id and all older ones have ended. */
type Since = { readonly at: Lsn } | { readonly afterXid: bigint | undefined };

/**
 * Says which namespaces a record may claim (SPEC I8). WAL is decoded under the publication as it was when the WAL was
 * written, so a namespace is claimed only from a position on at which the publication served it already. And a
 * transaction that was open when a table joined the publication may have changed rows before and commit afterwards:
 * those changes are never sent. So a gain counts only once every transaction of that time has ended; a loss counts at
 * once.
 */
export class CoverageClock {
  readonly #since = new Map<bigint, Since>();

  /**
   * @param options.start from here on everything that the catalog serves at the first check is decoded under it; for a
   * continued stream that holds only for `proven`, what the record before the first one claimed.
   */
  constructor(options: { served: ReadonlySet<bigint>; proven: ReadonlySet<bigint> | 'all'; start: Lsn }) {
    for (const hash of options.served) {
      const proven = options.proven === 'all' || options.proven.has(hash);
      this.#since.set(hash, proven ? { at: options.start } : { afterXid: undefined });
    }
  }

  /** True when {@link CoverageClock.wait} must be told an id first: some gain is new. */
  get needsXid(): boolean {
    return [...this.#since.values()].some((since) => 'afterXid' in since && since.afterXid === undefined);
  }

  /** Gains that are new count once every transaction below this id has ended; the id was assigned after the check. */
  wait(xid: bigint): void {
    for (const [hash, since] of this.#since) {
      if ('afterXid' in since && since.afterXid === undefined) this.#since.set(hash, { afterXid: xid });
    }
  }

  /** Takes in a check; true when what records may claim changed, now or from `insertLsn` on. */
  observe({ served, oldestXid, insertLsn }: CoverageCheck): boolean {
    let changed = false;
    for (const [hash, since] of this.#since) {
      if (!served.has(hash)) {
        this.#since.delete(hash);
        changed ||= 'at' in since;
      } else if ('afterXid' in since && since.afterXid !== undefined && oldestXid >= since.afterXid) {
        this.#since.set(hash, { at: insertLsn });
        changed = true;
      }
    }
    for (const hash of served) if (!this.#since.has(hash)) this.#since.set(hash, { afterXid: undefined });
    return changed;
  }

  /** Hashes that a record with this `from` may claim, ascending. */
  coversAt(from: Lsn): readonly bigint[] {
    const covers: bigint[] = [];
    for (const [hash, since] of this.#since) if ('at' in since && since.at <= from) covers.push(hash);
    return covers.toSorted((a, b) => (a < b ? -1 : 1));
  }

  /** How many namespaces are served by the catalog but not claimed yet. */
  get waiting(): number {
    return [...this.#since.values()].filter((since) => 'afterXid' in since).length;
  }
}
