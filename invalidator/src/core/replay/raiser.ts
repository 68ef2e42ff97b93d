import type { CompiledRules, Lsn, NamespaceRules } from '@tidemark/proto';
import type { Fence, LogHeader, LogReply } from '@tidemark/proto/redis';
import { FenceSet } from '../applier-fences.ts';
import type { Fall, Origin, ReplayOutput } from './engine.ts';

/** Fences for the log of one bucket; see RAISE_SCRIPT. */
export interface RaisePart {
  readonly header: LogHeader;
  readonly pairs: readonly { readonly pair: string; readonly lsn: Lsn }[];
  readonly keyFences: readonly Fence[];
  readonly tagFences: readonly Fence[];
}

/** The fence logs of a source, for somebody who is not their applier. Every call is atomic. */
export interface RaisingLogs {
  readonly buckets: number;
  read(bucket: number): Promise<LogReply>;
  raise(bucket: number, part: RaisePart): Promise<LogReply>;
}

/** Where the log of a bucket stood when it was last seen. */
export interface LogMark {
  readonly generation: string;
  readonly epoch: number;
  readonly to: Lsn;
}

/** Redis went back in time, or lost the logs, while they were replayed into: what was done may be undone. */
export class RewoundError extends Error {
  override name = 'RewoundError';
}

/**
 * Raises the fences of a replay in Redis beside a live applier, and so deletes what they forbid. It only takes away, so it
 * may be repeated, left in the middle, and go on at the same time as anything else (SPEC I7). Fences of other epochs than a
 * log's are left out: nothing that old, or that new, can be reached there.
 */
export class Raiser implements ReplayOutput {
  readonly #rules: CompiledRules;
  readonly #logs: RaisingLogs;
  readonly #persist: (call: () => Promise<LogReply>) => Promise<LogReply>;
  readonly #maxNames: number;
  readonly #maxFencesPerCall: number;
  readonly #marks: (LogMark | undefined)[];
  #fences: FenceSet;
  #epoch: number | undefined;
  /** Fences of an epoch that is over, or of one that the logs do not know yet, each with its epoch. */
  #closed: { readonly epoch: number; readonly fences: FenceSet }[] = [];
  #deleted = 0;
  #leftOut = 0;

  constructor(options: {
    readonly rules: CompiledRules;
    readonly logs: RaisingLogs;
    /** Does a call until it succeeds. */
    readonly persist: (call: () => Promise<LogReply>) => Promise<LogReply>;
    /** Names of a namespace beyond which it is fenced as a whole. */
    readonly maxNames: number;
    readonly maxFencesPerCall: number;
    /** Where the logs stood when an earlier run stopped. */
    readonly marks?: readonly (LogMark | undefined)[];
  }) {
    this.#rules = options.rules;
    this.#logs = options.logs;
    this.#persist = options.persist;
    this.#maxNames = options.maxNames;
    this.#maxFencesPerCall = options.maxFencesPerCall;
    this.#marks = Array.from({ length: options.logs.buckets }, (_, bucket) => options.marks?.[bucket]);
    this.#fences = this.#fresh();
  }

  /** Entries that were deleted. */
  get deleted(): number {
    return this.#deleted;
  }

  /** Batches of fences that no log had a use for: another epoch, or no log. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** Names that wait for {@link flush}. */
  get size(): number {
    return this.#fences.size + this.#closed.reduce((sum, { fences }) => sum + fences.size, 0);
  }

  /** Where the logs stand; for a later run. */
  get marks(): readonly (LogMark | undefined)[] {
    return this.#marks;
  }

  key(namespace: NamespaceRules, key: string, lsn: Lsn, { epoch }: Origin): void {
    this.#at(epoch).key(namespace, key, lsn);
  }

  tag(namespace: NamespaceRules, tag: string, lsn: Lsn, { epoch }: Origin): void {
    this.#at(epoch).tag(namespace, tag, lsn);
  }

  prefix(namespace: NamespaceRules, prefix: string, lsn: Lsn, { epoch }: Origin): void {
    this.#at(epoch).prefix(namespace, prefix, lsn);
  }

  namespace(namespace: NamespaceRules, lsn: Lsn, _falls: readonly Fall[], { epoch }: Origin): void {
    this.#at(epoch).namespace(namespace, lsn);
  }

  /** Resolves once Redis has done it all. Rejects with {@link RewoundError}. */
  async flush(): Promise<void> {
    if (this.#epoch !== undefined) this.#closed.push({ epoch: this.#epoch, fences: this.#fences });
    this.#epoch = undefined;
    this.#fences = this.#fresh();
    for (const closed of this.#closed.splice(0)) {
      const keys = closed.fences.keysByBucket(this.#logs.buckets);
      await Promise.all(keys.map((_, bucket) => this.#raiseIn(bucket, closed.epoch, { ...closed, keys })));
    }
  }

  async #raiseIn(
    bucket: number,
    epoch: number,
    { fences, keys }: { readonly fences: FenceSet; readonly keys: readonly (readonly Fence[])[] },
  ): Promise<void> {
    const keyFences = keys[bucket] ?? [];
    const tagFences = fences.tags();
    const pairs = fences.namespaces().filter(({ lsn }) => lsn > 0);
    if (keyFences.length + tagFences.length + pairs.length === 0) return;
    const most = this.#maxFencesPerCall;
    let { header } = this.#seen(bucket, await this.#persist(() => this.#logs.read(bucket)));
    for (let at = 0; at < Math.max(1, keyFences.length + tagFences.length);) {
      if (header?.epoch !== epoch) {
        this.#leftOut += 1;
        return;
      }
      const part: RaisePart = {
        header,
        // With every part: a namespace that a log takes over in between gets its fence too.
        pairs,
        keyFences: keyFences.slice(at, at + most),
        tagFences: tagFences.slice(Math.max(0, at - keyFences.length), Math.max(0, at + most - keyFences.length)),
      };
      const reply = this.#seen(bucket, await this.#persist(() => this.#logs.raise(bucket, part)));
      ({ header } = reply);
      this.#deleted += reply.deleted;
      if (reply.status === 'ok') at += most;
      // All of it once more under the names of now: entries are named by them.
      else if (reply.status === 'changed') at = 0;
      else header = undefined;
    }
  }

  #seen(bucket: number, reply: LogReply): LogReply {
    const { header } = reply;
    const mark = this.#marks[bucket];
    if (header !== undefined) {
      if (mark !== undefined && isBefore(header, mark))
        throw new RewoundError(`Redis went back in time: the log of bucket ${bucket} stands before where it stood`);
      this.#marks[bucket] = { generation: header.generation, epoch: header.epoch, to: header.to };
    }
    return reply;
  }

  #at(epoch: number): FenceSet {
    if (this.#epoch !== epoch) {
      if (this.#epoch !== undefined) this.#closed.push({ epoch: this.#epoch, fences: this.#fences });
      this.#epoch = epoch;
      this.#fences = this.#fresh();
    }
    return this.#fences;
  }

  #fresh(): FenceSet {
    return new FenceSet({ namespaces: this.#rules.namespaces, maxNames: this.#maxNames });
  }
}

/**
 * Whether a log was restored: the fences that were raised since are gone, and what they deleted is back. A generation that
 * is new begins where the stream is, so one that reaches further back is an old one.
 */
function isBefore({ epoch, to, from, generation }: LogHeader, mark: LogMark): boolean {
  if (epoch !== mark.epoch) return epoch < mark.epoch;
  return to < mark.to || (generation !== mark.generation && from < mark.to);
}
