import { isMark, MARK_LIMITS, type Purge } from '@tidemark/proto';
import type { ChangeBounds } from './bounds.ts';
import type { Projection } from './relations.ts';
import { TableBuffer, type RowMessage } from './table-buffer.ts';

/** An explicit purge without its position. */
export type PurgeTarget = Omit<Purge, 'commit'>;

/** What a message that cannot be understood may have meant. */
export const PURGE_EVERYTHING: PurgeTarget = { namespace: '', keys: [], tags: [], all: true };

/** What one transaction did, in bounded memory however large the transaction is. */
export class TransactionChanges {
  readonly tables = new Map<string, TableBuffer>();
  readonly #bounds: ChangeBounds;
  #purges: PurgeTarget[] = [];
  #purgeBytes = 0;
  readonly #marks: string[] = [];
  #markBytes = 0;
  #tableBytes = 0;
  #rows = 0;
  #collapses = 0;

  constructor(bounds: ChangeBounds) {
    this.#bounds = bounds;
  }

  get bytes(): number {
    return this.#tableBytes + this.#purgeBytes + this.#markBytes;
  }

  /** Row changes of rule tables that were seen, kept or not. */
  get rows(): number {
    return this.#rows;
  }

  /** How often a bound made something coarser. */
  get collapses(): number {
    return this.#collapses;
  }

  /** Whether nobody needs to hear of the transaction. */
  get empty(): boolean {
    return this.tables.size === 0 && this.#purges.length === 0 && this.#marks.length === 0;
  }

  get marks(): readonly string[] {
    return this.#marks;
  }

  get purges(): readonly PurgeTarget[] {
    return this.#purges;
  }

  addRow(projection: Projection, message: RowMessage, bytes: Buffer): void {
    this.#rows += 1;
    const buffer = this.#buffer(projection.table, projection.columns);
    if (buffer.collapsed) return;
    const before = buffer.bytes;
    buffer.addRow(projection, message, bytes);
    this.#tableBytes += buffer.bytes - before;
    if (buffer.bytes > this.#bounds.maxTableBytes || buffer.rows > this.#bounds.maxTableRows) this.#collapse(buffer);
    this.#fit();
  }

  /** Every row of a table: TRUNCATE, or changes that nobody can name. */
  addWholeTable(table: string, columns: readonly string[]): void {
    const buffer = this.#buffer(table, columns);
    this.#tableBytes -= buffer.bytes;
    buffer.collapse(0);
    this.#tableBytes += buffer.bytes;
  }

  addPurges(targets: readonly PurgeTarget[]): void {
    for (const target of targets) {
      this.#purges.push(target);
      this.#purgeBytes += purgeBytes(target);
    }
    if (this.#purgeBytes > this.#bounds.maxPurgeBytes) this.#collapsePurges();
    this.#fit();
  }

  /** Leaves out what is no mark, and those beyond the limit: whoever waits for one does without. */
  addMark(content: Buffer): void {
    if (this.#marks.length >= MARK_LIMITS.perTransaction || content.length > MARK_LIMITS.textBytes) return;
    const text = content.toString('utf8');
    if (!isMark(text) || text.includes('\uFFFD')) return;
    this.#marks.push(text);
    this.#markBytes += content.length + 16;
    this.#fit();
  }

  #collapsePurges(): void {
    this.#collapses += 1;
    const namespaces = new Set(this.#purges.map(({ namespace }) => namespace));
    const whole = [...namespaces].map((namespace) => ({ namespace, keys: [], tags: [], all: true }));
    // Names that nobody has heard of can be many and long, too.
    const everything = namespaces.has('') || sizeOf(whole) > this.#bounds.maxPurgeBytes / 2;
    this.#purges = everything ? [PURGE_EVERYTHING] : whole;
    this.#purgeBytes = sizeOf(this.#purges);
  }

  /** Gives up the largest tables until all of it fits a record. */
  #fit(): void {
    while (this.bytes > this.#bounds.maxBytes) {
      const largest = [...this.tables.values()]
        .filter(({ collapsed }) => !collapsed)
        .reduce<TableBuffer | undefined>(
          (most, buffer) => (buffer.bytes > (most?.bytes ?? 0) ? buffer : most),
          undefined,
        );
      if (largest === undefined) return;
      this.#collapse(largest);
    }
  }

  #collapse(buffer: TableBuffer): void {
    this.#collapses += 1;
    this.addWholeTable(buffer.table, buffer.columns);
  }

  #buffer(table: string, columns: readonly string[]): TableBuffer {
    let buffer = this.tables.get(table);
    if (buffer === undefined) {
      buffer = new TableBuffer(table, columns);
      this.tables.set(table, buffer);
      this.#tableBytes += buffer.bytes;
    }
    return buffer;
  }
}

function sizeOf(targets: readonly PurgeTarget[]): number {
  return targets.reduce((sum, target) => sum + purgeBytes(target), 0);
}

function purgeBytes({ namespace, keys, tags, prefixes = [] }: PurgeTarget): number {
  let bytes = 16 + Buffer.byteLength(namespace);
  for (const name of keys) bytes += Buffer.byteLength(name) + 3;
  for (const name of tags) bytes += Buffer.byteLength(name) + 3;
  for (const name of prefixes) bytes += Buffer.byteLength(name) + 3;
  return bytes;
}
