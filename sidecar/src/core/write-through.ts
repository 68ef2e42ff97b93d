import { keyTag, type Lsn, type NamespaceRules } from '@tidemark/proto';
import type { Coalescer } from './coalescer.ts';
import type { Filler } from './filler.ts';
import type { Marks } from './marks.ts';
import type { Namespaces } from './namespace.ts';
import type { OwnWrite, OwnWrites } from './own-writes.ts';
import type { Clock, Random } from './ports.ts';
import type { Positions } from './positions.ts';
import type { SourceReplica } from './replica.ts';
import { Unplaced } from './unplaced.ts';
import type { PutRequest, WriteFailure, WriteRequest, Writer, Written } from './writer.ts';

/** The first word of the mark that a write leaves in its transaction. */
export const WRITE_MARK = 'write';

/** What is under the key after a write, as its own transaction saw it. */
export type WrittenValue =
  | {
      readonly kind: 'value';
      /** Owned by whoever asked. */
      readonly body: Uint8Array;
      readonly contentType: string;
      readonly tags: readonly string[];
    }
  | { readonly kind: 'absent' };

/** How a transaction ended. */
export type Executed =
  | {
      readonly kind: 'committed';
      readonly created: boolean | undefined;
      /** At or after its commit. `ask`: nobody told, so the invalidator is asked. */
      readonly lsn: Lsn | 'ask';
      /** Of the WAL that it was written to; undefined where nobody told. */
      readonly timeline: number | undefined;
      /** Undefined where nobody knows, or nobody should keep it. */
      readonly value: WrittenValue | undefined;
    }
  | { readonly kind: 'nothing' }
  | {
      readonly kind: 'failed';
      readonly why: WriteFailure;
      readonly detail: string;
      readonly sqlState?: string | undefined;
      /** Of one that is unknown: it is not under way any more. Undefined where nobody can say. */
      readonly isOver?: boolean;
    };

/** What every write is given beside the caller's request: the text of the mark that its transaction leaves. */
export type Marked<Request> = Request & { readonly mark: string };

/** Performs the writes of a namespace, each in one transaction that begins after the call. Bounded in time; never rejects. */
export interface WriteExecutor {
  /** Header fields, in lower case, that it makes use of. */
  readonly headers: readonly string[];
  readonly put?: (request: Marked<PutRequest>) => Promise<Executed>;
  readonly delete?: (request: Marked<WriteRequest>) => Promise<Executed>;
}

/** `stored`: the value is in L1 at once. `passed`: it was written and is not stored. */
export type WriteEnd = 'stored' | 'passed' | 'nothing' | WriteFailure;

export interface WriteThroughOptions {
  readonly namespaces: Namespaces;
  readonly replica: SourceReplica;
  readonly filler: Filler;
  readonly coalescer: Coalescer;
  readonly positions: Positions;
  readonly marks: Marks;
  readonly clock: Clock;
  readonly random: Random;
  readonly etagOf: (contentType: string, body: Uint8Array) => string;
  /** What the evictor spares. */
  readonly own: OwnWrites;
  readonly onEnd?: (namespace: string, end: WriteEnd, tookMs: number) => void;
}

/** After so long the database is asked where it stands, which also makes the stream move. */
const NUDGE_MS = 20;
/** A stream that is further behind is not believed to be. */
const MAX_AHEAD_BYTES = 2 ** 30;
const ABSENT = { body: new Uint8Array(), contentType: 'application/octet-stream', tags: [] } as const;

/**
 * Writes to the database, and serves what was written at once, coherent with all other writers (SPEC I18). The sidecar is a client of
 * the core like any other: the value is as old as V at the beginning of its transaction, and is offered when COMMIT has answered.
 */
export class WriteThrough {
  readonly #own: OwnWrites;
  readonly #unplaced: Unplaced;
  readonly #options: WriteThroughOptions;

  constructor(options: WriteThroughOptions) {
    this.#options = options;
    this.#own = options.own;
    this.#unplaced = new Unplaced(options);
    options.marks.on(WRITE_MARK, (token, lsn, isAlone) => {
      this.#own.mark(token, lsn, isAlone);
      this.#unplaced.found(token, lsn);
    });
  }

  /** Writes of which nobody could say yet where they were committed; nothing is kept under their keys. */
  get unplaced(): number {
    return this.#unplaced.size;
  }

  /** The writer of a namespace. */
  writer({ headers, put, delete: remove }: WriteExecutor): Writer {
    return {
      headers,
      ...(put && { put: (request) => this.#write(request, { tags: request.tags, said: request, execute: put }) }),
      ...(remove && { delete: (request) => this.#write(request, { tags: [], said: {}, execute: remove }) }),
    };
  }

  /** A record was applied as a whole: what is still there of the writes that it told of is shared with other sidecars. */
  applied(): void {
    const { filler, replica } = this.#options;
    for (const { namespace, key, entry } of this.#own.applied()) {
      const asOf = replica.applied;
      const checked = { ...entry, asOf, loadedAt: Math.max(asOf, entry.loadedAt ?? 0) };
      namespace.l1.set(key, checked);
      void filler.share(namespace, key, checked);
    }
  }

  async #write<Request extends WriteRequest>(
    request: Request,
    how: {
      tags: readonly string[];
      said: Pick<PutRequest, 'maxAgeMs'> | object;
      execute: (request: Marked<Request>) => Promise<Executed>;
    },
  ): Promise<Written> {
    const { clock, random, onEnd } = this.#options;
    const { namespace, key } = request;
    const beganMs = clock.monotonicMs();
    const token = random.token();
    const write = this.#own.begin({ token, namespace, key, tags: how.tags });
    const executed = await how.execute({ ...request, mark: `${WRITE_MARK}:${token}` });
    const end = (what: WriteEnd): void => onEnd?.(namespace.name, what, clock.monotonicMs() - beganMs);
    if (executed.kind !== 'committed') {
      this.#own.end(write);
      end(executed.kind === 'failed' ? executed.why : 'nothing');
      return executed;
    }
    const lsn = await this.#positionOf(write, executed);
    end(this.#conclude(write, { value: executed.value, lsn, said: how.said }) ? 'stored' : 'passed');
    return { kind: 'written', lsn, created: executed.created };
  }

  /** Undefined where it cannot be compared with those of the stream, or nobody knows it. */
  #positionOf(write: OwnWrite, { lsn, timeline }: Extract<Executed, { kind: 'committed' }>): Promise<Lsn | undefined> {
    const { replica, positions } = this.#options;
    // A promoted server: its positions are of an epoch that has not begun here.
    if (timeline !== undefined && timeline !== replica.server.timeline) return Promise.resolve(undefined);
    if (lsn !== 'ask' && (timeline !== undefined || this.#isPossible(write, lsn))) {
      // On one timeline positions are the same whatever the epoch.
      const isKnown = timeline !== undefined || replica.epoch === write.epoch;
      return Promise.resolve(isKnown ? lsn : undefined);
    }
    return new Promise((resolve) => {
      positions.ask((position) => resolve(position?.epoch === replica.epoch ? position.lsn : undefined));
    });
  }

  /** What an endpoint tells may be of another server: before the write began, or so far away that nothing would be kept for a long time. */
  #isPossible({ asOf }: OwnWrite, lsn: Lsn): boolean {
    return lsn >= asOf && lsn <= this.#options.replica.applied + MAX_AHEAD_BYTES;
  }

  /** In one step: what was there goes, nothing older can come, and the new value is there if it may be. */
  #conclude(
    write: OwnWrite,
    done: { value: WrittenValue | undefined; lsn: Lsn | undefined; said: Pick<PutRequest, 'maxAgeMs'> | object },
  ): boolean {
    const { filler, replica, coalescer, namespaces, etagOf } = this.#options;
    const { namespace, key } = write;
    const { value, lsn } = done;
    const { body, contentType, tags } = value?.kind === 'value' ? value : ABSENT;
    const asOf = value === undefined || lsn === undefined ? undefined : this.#admit(write, tags);
    if (asOf === undefined) this.#own.end(write);
    // Where a key has several values (SPEC I20), they have a tag in common.
    const common = namespace.variants === undefined ? [] : [keyTag(key)];
    // Another document may have put another namespace in its place.
    const rulesNow = (): NamespaceRules | undefined => (namespaces.get(namespace.name) ?? namespace).rules;
    const changed = (position: Lsn | undefined): void => {
      const rules = rulesNow();
      if (rules !== undefined) replica.changed(rules, { key, tags: common, lsn: position });
    };
    changed(lsn);
    const rules = lsn === undefined ? rulesNow() : undefined;
    if (rules !== undefined)
      this.#unplaced.add({ token: write.token, rules, names: [key, ...common], placed: changed });
    if (asOf === undefined || value === undefined) {
      coalescer.settleDoomed();
      this.#nudge(write, lsn);
      return false;
    }
    const etag = etagOf(contentType, body);
    const fill = { ...done.said, namespace, key, token: undefined, tags, contentType, etag, body };
    const entry = filler.written(
      { ...fill, absent: value.kind === 'absent', loadedAt: lsn },
      { asOf, epoch: write.epoch },
    );
    if (entry === undefined) {
      this.#own.end(write);
      return false;
    }
    this.#own.stored(write, entry);
    // Its record was here before COMMIT's answer.
    if (asOf !== write.asOf) void filler.share(namespace, key, entry);
    return true;
  }

  #admit(write: OwnWrite, tags: readonly string[]): Lsn | undefined {
    return this.#options.coalescer.bypass(write.namespace) === undefined ? this.#own.admit(write, tags) : undefined;
  }

  /** Nothing is cached under the key until V has passed the write, which on an idle database may take a second. */
  #nudge({ epoch }: OwnWrite, lsn: Lsn | undefined): void {
    const { clock, replica, positions } = this.#options;
    if (lsn === undefined || replica.visible >= lsn) return;
    clock.after(NUDGE_MS, () => {
      if (replica.epoch === epoch && replica.visible < lsn) positions.ask(() => undefined);
    });
  }
}
