import type { PurgeTarget } from '../../../invalidator/src/core/transaction-changes.ts';

/** A row that a transaction changed, and whether its table was published when it did. */
export interface RowChange {
  readonly row: string;
  readonly sent: boolean;
}

/** Something in the WAL that matters here. */
export interface WalRecord {
  /** In the order in which they were written, on whatever server: the version of a row is the id of its last change. */
  readonly id: number;
  /** Of the commit record or message. */
  readonly start: number;
  readonly end: number;
  /** Undefined for a message outside of any transaction, and for DDL. */
  readonly xid: number | undefined;
  readonly rows: readonly RowChange[];
  readonly purges: readonly PurgeTarget[];
  readonly kind: 'commit' | 'purge' | 'heartbeat' | 'ddl';
  readonly server: Server;
  /**
   * Changes that the stream does not tell (DDL, tables that were not published) bind sidecars from the moment on at which the
   * invalidator has told them by other means: a purge behind the DDL, or a first record that claims less.
   */
  announcedBy: Announcement | undefined;
}

/** How a change was told that is not in the stream. */
export type Announcement =
  | { readonly kind: 'purge'; readonly purge: WalRecord }
  | { readonly kind: 'record'; readonly session: object; readonly epoch: number; readonly seq: number };

/** What the catalog says of the table that has rules. */
interface Catalog {
  readonly isPublished: boolean;
  readonly membership: number;
  readonly shape: number;
}

export interface OpenTransaction {
  readonly xid: number;
  readonly rows: RowChange[];
  readonly purges: readonly PurgeTarget[];
}

/** A logical replication slot. */
export interface Slot {
  confirmed: number;
  isLost: boolean;
  /** Copied from the primary before this one. */
  readonly isSynced: boolean;
}

/** Counted over all servers of a world. */
export class Ids {
  #last = 0;

  next(): number {
    this.#last += 1;
    return this.#last;
  }

  get last(): number {
    return this.#last;
  }
}

const ORIGIN = 1000;

/** One Postgres server, from its promotion (or making) on. */
export class Server {
  readonly ids: Ids;
  readonly systemId: bigint;
  readonly timeline: number;
  /** Where each timeline before this one ended. */
  readonly history: readonly { readonly timeline: number; readonly end: number }[];
  readonly #parent: { readonly server: Server; readonly upTo: number } | undefined;
  /** Everything committed, in the order of the WAL, what the parent had included. */
  readonly wal: WalRecord[];
  readonly hidden = new Set<WalRecord>();
  readonly open: OpenTransaction[] = [];
  slot: Slot | undefined;
  /** What a standby knows of the slot. */
  syncedSlot: Slot | undefined;
  insertLsn: number;
  nextXid: number;
  /** How far the standby is. */
  replayed: number;
  isUp = true;
  /** Who holds the advisory lock. */
  lockedBy: object | undefined;
  catalog: Catalog;
  readonly #catalogs: { readonly at: number; readonly catalog: Catalog }[];

  private constructor(options: {
    ids: Ids;
    systemId: bigint;
    timeline: number;
    history: Server['history'];
    parent: { server: Server; upTo: number } | undefined;
  }) {
    const { parent } = options;
    this.ids = options.ids;
    this.systemId = options.systemId;
    this.timeline = options.timeline;
    this.history = options.history;
    this.#parent = parent;
    this.wal = parent?.server.wal.filter((record) => parent.server.positionOf(record) <= parent.upTo) ?? [];
    this.insertLsn = parent?.upTo ?? ORIGIN;
    this.replayed = this.insertLsn;
    this.nextXid = parent?.server.nextXid ?? 100;
    this.catalog =
      parent === undefined ? { isPublished: true, membership: 0, shape: 0 } : parent.server.#catalogAt(parent.upTo);
    this.#catalogs = [{ at: this.insertLsn, catalog: this.catalog }];
  }

  static create(ids: Ids): Server {
    return new Server({ ids, systemId: 1n, timeline: 1, history: [], parent: undefined });
  }

  /** The standby takes over with what it has. */
  promote(): Server {
    const upTo = this.replayed;
    const history = [...this.history, { timeline: this.timeline, end: upTo }];
    const { ids, systemId, timeline } = this;
    const promoted = new Server({ ids, systemId, timeline: timeline + 1, history, parent: { server: this, upTo } });
    const slot = this.syncedSlot;
    if (slot !== undefined && slot.confirmed <= upTo) promoted.slot = { ...slot, isSynced: true };
    promoted.syncedSlot = promoted.slot && { ...promoted.slot };
    return promoted;
  }

  /** A new cluster that was loaded with everything that this one shows; its WAL positions mean nothing to the old ones. */
  reload(): Server {
    const made = new Server({
      ...{ ids: this.ids, systemId: this.systemId + 1n, timeline: 1, history: [] },
      parent: { server: this, upTo: this.insertLsn },
    });
    made.insertLsn = Math.max(ORIGIN, this.insertLsn - 200);
    made.replayed = made.insertLsn;
    return made;
  }

  /** Whether something that was written on some server is part of this one's past. */
  contains(record: WalRecord): boolean {
    if (record.server === this) return true;
    const parent = this.#parent;
    if (parent === undefined) return false;
    const isShared = parent.server.systemId === this.systemId;
    return (!isShared || record.end <= parent.upTo) && parent.server.contains(record);
  }

  /** Where something stands in this server's WAL; before everything where it was loaded from another cluster. */
  positionOf(record: WalRecord): number {
    return record.server.systemId === this.systemId ? record.end : 0;
  }

  /** What a query in a new snapshot finds in each row: the id of its newest visible change. */
  read(rows: readonly string[]): number[] {
    return rows.map((row) => this.#newest(row, (record) => !this.hidden.has(record))?.id ?? 0);
  }

  /** The same on the standby. */
  readStandby(rows: readonly string[]): number[] {
    return rows.map((row) => this.#newest(row, (record) => this.positionOf(record) <= this.replayed)?.id ?? 0);
  }

  /** Begins a transaction that changes rows; undefined when one of them is locked. */
  begin(rows: readonly string[], purges: readonly PurgeTarget[]): OpenTransaction | undefined {
    const locked = new Set(this.open.flatMap((transaction) => transaction.rows.map(({ row }) => row)));
    if (rows.some((row) => locked.has(row))) return undefined;
    // A row stays locked until the commit is visible, so a later change of it proves that it was.
    for (const record of this.hidden) if (record.rows.some(({ row }) => rows.includes(row))) this.hidden.delete(record);
    const sent = this.catalog.isPublished;
    const transaction = { xid: this.assignXid(), rows: rows.map((row) => ({ row, sent })), purges };
    this.open.push(transaction);
    return transaction;
  }

  /** @param isHidden new snapshots do not see it yet; it is streamed regardless */
  commit(transaction: OpenTransaction, isHidden: boolean): WalRecord {
    this.open.splice(this.open.indexOf(transaction), 1);
    const { xid, rows, purges } = transaction;
    const record = this.#write({ xid, rows, purges, kind: 'commit' });
    if (isHidden) this.hidden.add(record);
    return record;
  }

  emit(kind: 'purge' | 'heartbeat', purges: readonly PurgeTarget[]): WalRecord {
    return this.#write({ xid: undefined, rows: [], purges, kind });
  }

  /** DDL that gives every row another value, such as a change of a column's type. */
  alterTable(rows: readonly string[]): void {
    if (this.open.some((transaction) => transaction.rows.length > 0)) return;
    this.hidden.clear();
    this.catalog = { ...this.catalog, shape: this.ids.next() };
    this.#write({ xid: undefined, rows: rows.map((row) => ({ row, sent: false })), purges: [], kind: 'ddl' });
    this.#catalogs.push({ at: this.insertLsn, catalog: this.catalog });
  }

  setPublished(isPublished: boolean): void {
    if (this.catalog.isPublished === isPublished) return;
    this.insertLsn += 8;
    this.catalog = {
      ...this.catalog,
      isPublished,
      membership: isPublished ? this.ids.next() : this.catalog.membership,
    };
    this.#catalogs.push({ at: this.insertLsn, catalog: this.catalog });
  }

  /** Those of some transactions that a new snapshot does not see. */
  unseenOf(xids: readonly number[]): ReadonlySet<number> {
    const hidden = new Set(Array.from(this.hidden, ({ xid }) => xid));
    return new Set(xids.filter((xid) => hidden.has(xid)));
  }

  assignXid(): number {
    this.nextXid += 1;
    return this.nextXid;
  }

  /** pg_snapshot_xmin: everything older has ended, and is seen. */
  get oldestXid(): number {
    const running = [...this.open.map(({ xid }) => xid), ...[...this.hidden].map(({ xid }) => xid ?? this.nextXid + 1)];
    return Math.min(this.nextXid + 1, ...running);
  }

  /** Crash recovery: what was open is gone, what was committed is visible. */
  restart(): void {
    this.lockedBy = undefined;
    this.open.length = 0;
    this.hidden.clear();
  }

  assertUp(): void {
    if (!this.isUp) throw new Error('Postgres is away');
  }

  /** As the WAL had it at a position at or after the beginning of this server. */
  #catalogAt(lsn: number): Catalog {
    return this.#catalogs.findLast(({ at }) => at <= lsn)?.catalog ?? this.catalog;
  }

  #newest(row: string, isSeen: (record: WalRecord) => boolean): WalRecord | undefined {
    return this.wal.findLast((record) => record.rows.some((change) => change.row === row) && isSeen(record));
  }

  #write(what: Pick<WalRecord, 'xid' | 'rows' | 'purges' | 'kind'>): WalRecord {
    const start = this.insertLsn;
    this.insertLsn += 8;
    const record: WalRecord = {
      ...what,
      id: this.ids.next(),
      start,
      end: this.insertLsn,
      server: this,
      announcedBy: undefined,
    };
    this.wal.push(record);
    return record;
  }
}
