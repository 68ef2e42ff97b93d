import { encodePendingWrite, MAX_PENDING_BODY_BYTES, type PendingWrite, type WriteBehindConfig } from '@tidemark/proto';
import type { PendingNamespace } from './pending-namespace.ts';
import type { PendingWrites } from './pending-writes.ts';
import type { Clock } from './ports.ts';
import type { PutRequest, WriteRequest, Writer, Written } from './writer.ts';

/**
 * `offset`: every in-sync replica has it. `unsent`: it was not written and will not be. `full`: likewise, because too many wait.
 * `unknown`: it may have been written, or may still be.
 */
export type Appended =
  | { readonly offset: number }
  | { readonly failed: 'unsent' | 'full' | 'unknown'; readonly detail: string };

/** Where writes wait until they are in the database. In the order of the calls; bounded in time; never rejects. */
export interface WriteLog {
  append(record: Uint8Array): Promise<Appended>;
}

/** What became of writes since the start. */
export class BehindCounters {
  acknowledged = 0;
  /** By why they were not. */
  readonly refused = { busy: 0, unavailable: 0, unknown: 0, 'too-large': 0 };
}

/** Everything that writers of all namespaces share. */
export interface BehindWriterParts {
  readonly log: WriteLog;
  readonly writes: PendingWrites;
  readonly clock: Clock;
  /** Longest that a write in Kafka waits until it is seen here. */
  readonly seenMs: number;
}

/** Accepts writes once Kafka has them and reads here see them (SPEC I19). */
export class BehindWriter implements Writer {
  readonly headers = [] as const;
  readonly put?: (request: PutRequest) => Promise<Written>;
  readonly delete?: (request: WriteRequest) => Promise<Written>;
  readonly #parts: BehindWriterParts;
  readonly #pending: PendingNamespace;
  readonly #counters: BehindCounters;

  constructor(
    parts: BehindWriterParts,
    of: { config: WriteBehindConfig; pending: PendingNamespace; counters: BehindCounters },
  ) {
    this.#parts = parts;
    this.#pending = of.pending;
    this.#counters = of.counters;
    if (of.config.put !== undefined)
      this.put = ({ namespace, key, contentType, tags, body }) =>
        this.#write({ namespace: namespace.name, key, kind: 'put', contentType, tags, body, atMs: this.#nowMs() });
    if (of.config.delete !== undefined)
      this.delete = ({ namespace, key }) =>
        this.#write({
          namespace: namespace.name,
          key,
          kind: 'delete',
          contentType: '',
          tags: [],
          body: new Uint8Array(0),
          atMs: this.#nowMs(),
        });
  }

  async #write(write: PendingWrite): Promise<Written> {
    const { clock, log, writes } = this.#parts;
    if (write.body.length > MAX_PENDING_BODY_BYTES)
      return this.#refuse('too-large', `found ${write.body.length} bytes, expected at most ${MAX_PENDING_BODY_BYTES}`);
    const why = this.#pending.bypass(clock.monotonicMs());
    if (why !== undefined && why !== 'overflow')
      return this.#refuse('unavailable', 'it is not known here yet which writes wait for the database');
    const room = write.body.length + 2 * write.key.length;
    if (why === 'overflow' || !this.#pending.reserve(room))
      return this.#refuse('busy', 'too many writes wait for the database');
    const least = writes.next;
    try {
      const appended = await log.append(encodePendingWrite(write));
      if ('failed' in appended) {
        const { failed, detail } = appended;
        return this.#refuse(failed === 'full' ? 'busy' : failed === 'unsent' ? 'unavailable' : 'unknown', detail);
      }
      // Nobody reads it there: neither reads here nor the flusher.
      if (appended.offset < least)
        return this.#refuse(
          'unknown',
          `Kafka has it at offset ${appended.offset}, but all before ${least} was read already: the topic was made anew, or cut`,
        );
      if (!(await this.#isSeen(appended.offset)))
        return this.#refuse('unknown', 'Kafka has it, but it was not seen here in time: it will be written');
      this.#counters.acknowledged += 1;
      return { kind: 'accepted' };
    } finally {
      this.#pending.release(room);
    }
  }

  /** Resolves to whether reads here answer it, or something newer, from now on. */
  #isSeen(offset: number): Promise<boolean> {
    const { writes, clock, seenMs } = this.#parts;
    return new Promise((resolve) => {
      let cancel = (): void => undefined;
      const forget = writes.whenPassed(offset, () => {
        cancel();
        resolve(true);
      });
      cancel = clock.after(seenMs, () => {
        forget();
        resolve(false);
      });
    });
  }

  #refuse(why: keyof BehindCounters['refused'], detail: string): Written {
    this.#counters.refused[why] += 1;
    return { kind: 'failed', why, detail };
  }

  #nowMs(): number {
    return Math.max(0, Math.floor(this.#parts.clock.wallMs()));
  }
}
