import type { CompiledRules } from '@tidemark/proto';
import { Assembler } from '../core/assembler.ts';
import type { ChangeBounds } from '../core/bounds.ts';
import type { Outbox } from '../core/outbox.ts';
import type { ChangeStream } from '../core/ports.ts';
import { targetOf, type RelationFacts } from '../core/relations.ts';
import type { VisibleClock } from '../core/visibility.ts';

export interface ReaderOptions {
  readonly rules: CompiledRules;
  readonly bounds: ChangeBounds;
  readonly outbox: Outbox;
  readonly clock: VisibleClock;
  /** What the catalog says of a relation now. */
  readonly lookUp: (oid: number) => Promise<RelationFacts | undefined>;
  /** Rule tables that have, or may have had, partitions. */
  readonly partitioned: () => readonly string[];
  /** Told of each relation whose rows belong to other tables too, or may have, by the names of all of them. */
  readonly onMember: (oid: number, lineage: readonly string[]) => void;
  /** Something is to be published; `heartbeat` when our own message came back. */
  readonly onNews: (heartbeat: boolean) => void;
  /** A purge message could not be understood and purges everything. */
  readonly onUnreadablePurge: () => void;
  readonly onFailure: (error: Error) => void;
}

/**
 * Carries the stream's messages, in order, into the outbox. The socket is paused while a relation is looked up or the
 * outbox is full; what the socket had delivered by then waits here, at most one read of it (64 KiB).
 */
export class StreamReader {
  readonly #options: ReaderOptions;
  readonly #assembler: Assembler;
  readonly #waiting: Buffer[] = [];
  /** Lineages seen before: rows of a partition that was detached since still belong to its root. */
  readonly #lineages = new Map<number, readonly string[]>();
  #stream: ChangeStream | undefined;
  #lookingUp = false;
  #stopped = false;

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#assembler = new Assembler(options);
  }

  /** Whether silence is our own doing. */
  get paused(): boolean {
    return this.#lookingUp || this.#options.outbox.full;
  }

  attach(stream: ChangeStream): void {
    this.#stream = stream;
    if (this.paused) stream.pause();
  }

  /** Nothing that arrives from here on is taken in. */
  stop(): void {
    this.#stopped = true;
    this.#waiting.length = 0;
    this.#stream?.pause();
  }

  /** For the stream's `onMessage`; the bytes are only valid during the call. */
  receive(bytes: Buffer): void {
    if (this.#stopped) return;
    if (this.paused || this.#waiting.length > 0) this.#waiting.push(Buffer.from(bytes));
    else this.#take(bytes);
  }

  /** For the stream's `onKeepalive`: everything before `end` was sent, and all of it was taken in unless some waits. */
  keepalive(end: number): void {
    if (this.#stopped || this.#waiting.length > 0 || this.#lookingUp || this.#assembler.inTransaction) return;
    this.#options.clock.reach(end);
    this.#options.outbox.advance(end);
    this.#options.onNews(false);
  }

  /** Goes on after the outbox was full. */
  drain(): void {
    while (this.#waiting.length > 0 && !this.paused && !this.#stopped) this.#take(this.#waiting.shift() as Buffer);
    if (!this.paused && !this.#stopped) this.#stream?.resume();
  }

  #take(bytes: Buffer): void {
    try {
      this.#accept(bytes);
    } catch (error) {
      this.stop();
      this.#options.onFailure(error as Error);
    }
    if (this.paused) this.#stream?.pause();
  }

  #accept(bytes: Buffer): void {
    const { outbox, clock, onNews } = this.#options;
    const made = this.#assembler.accept(bytes);
    if (made.kind === 'relation') {
      this.#lookUp(made.relation);
    } else if (made.kind === 'passed') {
      clock.reach(made.lsn);
      outbox.advance(made.lsn);
      onNews(made.heartbeat);
    } else if (made.kind === 'committed') {
      if (made.transaction !== undefined) clock.announce({ ...made.transaction, commit: made.committed.commit });
      clock.reach(made.committed.commit);
      if (outbox.add(made.committed)) onNews(false);
    }
  }

  #lookUp(relation: Parameters<typeof targetOf>[0]['relation'] & { readonly oid: number }): void {
    const { rules, partitioned, lookUp, onMember, onFailure } = this.#options;
    this.#lookingUp = true;
    lookUp(relation.oid).then(
      (found) => {
        const lineage = [...new Set([...(this.#lineages.get(relation.oid) ?? []), ...(found?.lineage ?? [])])];
        this.#lineages.set(relation.oid, lineage);
        const facts =
          found === undefined && lineage.length === 0 ? undefined : { published: found?.published ?? false, lineage };
        const target = targetOf({ rules, relation, facts, partitioned: partitioned() });
        if (target.kind === 'coarse') onMember(relation.oid, target.tables);
        else if (lineage.length > 1) onMember(relation.oid, lineage);
        this.#assembler.define(relation.oid, target);
        this.#lookingUp = false;
        this.drain();
      },
      (error: unknown) => {
        this.stop();
        onFailure(error as Error);
      },
    );
  }
}
