import { HEARTBEAT_PREFIX, MARK_PREFIX, parsePurge, PURGE_PREFIX, type CompiledRules, type Lsn } from '@tidemark/proto';
import type { ChangeBounds } from './bounds.ts';
import type { CommittedChanges } from './record-changes.ts';
import { PURGE_EVERYTHING, TransactionChanges, type PurgeTarget } from './transaction-changes.ts';
import { decodeMessage, PgoutputError, type PgMessage } from './pgoutput.ts';
import type { Target } from './relations.ts';

export type RelationMessage = Extract<PgMessage, { kind: 'relation' }>;

/** What came of one message of the stream. */
export type Assembled =
  | { readonly kind: 'nothing' }
  /** The meaning of this relation must be told with {@link Assembler.define} before the next message. */
  | { readonly kind: 'relation'; readonly relation: RelationMessage }
  /** A transaction, or a message outside of any, is complete; `transaction` is absent for the latter. */
  | {
      readonly kind: 'committed';
      readonly transaction?: { readonly xid: number; readonly start: Lsn };
      readonly committed: CommittedChanges;
    }
  /** Nothing that concerns us, but the stream has come this far. */
  | { readonly kind: 'passed'; readonly lsn: Lsn; readonly heartbeat: boolean };

const NOTHING: Assembled = { kind: 'nothing' };
/** A longer purge message is not parsed: it would not fit the limits of a purge that is worth naming. */
const MAX_PURGE_BYTES = 4 * 1024 * 1024;

interface OpenTransaction {
  readonly xid: number;
  readonly committedAtUs: number;
  readonly changes: TransactionChanges;
}

/**
 * Turns the messages of one replication connection into committed transactions. Synchronous, no I/O; memory is bounded
 * by {@link ChangeBounds} whatever a transaction does. Any error means that the connection cannot be trusted any more.
 */
export class Assembler {
  readonly #rules: CompiledRules;
  readonly #bounds: ChangeBounds;
  readonly #targets = new Map<number, Target>();
  readonly #onUnreadablePurge: () => void;
  #open: OpenTransaction | undefined;

  /** @param options.onUnreadablePurge told of each purge message that is understood as a purge of everything */
  constructor(options: { rules: CompiledRules; bounds: ChangeBounds; onUnreadablePurge: () => void }) {
    this.#rules = options.rules;
    this.#bounds = options.bounds;
    this.#onUnreadablePurge = options.onUnreadablePurge;
  }

  /** Whether a transaction has begun and not ended; positions must not move on then. */
  get inTransaction(): boolean {
    return this.#open !== undefined;
  }

  /** Says what the rows of a relation mean from here on. */
  define(oid: number, target: Target): void {
    this.#targets.set(oid, target);
  }

  /** Throws {@link PgoutputError} when the message is not what the protocol allows here. */
  accept(bytes: Buffer): Assembled {
    const message = decodeMessage(bytes);
    switch (message.kind) {
      case 'insert':
      case 'update':
      case 'delete':
        this.#row(message, bytes);
        return NOTHING;
      case 'begin':
        if (this.#open !== undefined) throw new PgoutputError('a transaction begins inside another one');
        this.#open = {
          xid: message.xid,
          committedAtUs: message.committedAtUs,
          changes: new TransactionChanges(this.#bounds),
        };
        return NOTHING;
      case 'commit':
        return this.#commit(message);
      case 'relation':
        return { kind: 'relation', relation: message };
      case 'truncate':
        for (const oid of message.oids) this.#wholeTables(this.#transaction(), this.#target(oid));
        return NOTHING;
      case 'message':
        return this.#message(message);
      default:
        return NOTHING;
    }
  }

  #row(message: Extract<PgMessage, { kind: 'insert' | 'update' | 'delete' }>, bytes: Buffer): void {
    const { changes } = this.#transaction();
    const target = this.#target(message.oid);
    if (target.kind === 'projected')
      for (const projection of target.projections) changes.addRow(projection, message, bytes);
    else if (target.kind === 'coarse') this.#wholeTables(this.#transaction(), target);
  }

  #wholeTables({ changes }: OpenTransaction, target: Target): void {
    if (target.kind === 'projected')
      for (const { table, columns } of target.projections) changes.addWholeTable(table, columns);
    else if (target.kind === 'coarse')
      for (const table of target.tables) changes.addWholeTable(table, this.#rules.columns.get(table) ?? []);
  }

  #commit({ start, end }: { readonly start: Lsn; readonly end: Lsn }): Assembled {
    const { xid, committedAtUs, changes } = this.#transaction();
    this.#open = undefined;
    if (changes.empty) return { kind: 'passed', lsn: end, heartbeat: false };
    return { kind: 'committed', transaction: { xid, start }, committed: { commit: end, committedAtUs, changes } };
  }

  #message({ prefix, transactional, lsn, content }: Extract<PgMessage, { kind: 'message' }>): Assembled {
    if (prefix === PURGE_PREFIX) {
      const targets = this.#purgeTargets(content);
      if (transactional) {
        this.#transaction().changes.addPurges(targets);
        return NOTHING;
      }
      const changes = new TransactionChanges(this.#bounds);
      changes.addPurges(targets);
      return { kind: 'committed', committed: { commit: lsn, committedAtUs: 0, changes } };
    }
    // Outside of a transaction there is no commit that could be told.
    if (prefix === MARK_PREFIX && transactional) this.#transaction().changes.addMark(content);
    return transactional ? NOTHING : { kind: 'passed', lsn, heartbeat: prefix === HEARTBEAT_PREFIX };
  }

  #purgeTargets(content: Buffer): readonly PurgeTarget[] {
    const text = content.length <= MAX_PURGE_BYTES ? textOf(content) : undefined;
    const request = text === undefined ? undefined : parsePurge(text);
    if (request !== undefined) return request.purge;
    this.#onUnreadablePurge();
    return [PURGE_EVERYTHING];
  }

  #transaction(): OpenTransaction {
    if (this.#open === undefined) throw new PgoutputError('a change outside of any transaction');
    return this.#open;
  }

  #target(oid: number): Target {
    const target = this.#targets.get(oid);
    if (target === undefined) throw new PgoutputError(`a change of relation ${oid}, which was never described`);
    return target;
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Undefined for what is no UTF-8: it was written in the encoding of a database, and some name in it would be read as another one. */
function textOf(content: Buffer): string | undefined {
  try {
    return strictUtf8.decode(content);
  } catch {
    return undefined;
  }
}
