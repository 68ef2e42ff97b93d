import type { Fence, LogHeader, LogPosition, LogReply } from '@tidemark/proto/redis';
import type { AppliedSet, Group, Unreadable } from './applier-groups.ts';
import {
  afterUnreadable,
  decide,
  startOffset,
  viewOf,
  type BeginReason,
  type LogView,
  type ReadState,
} from './applier.ts';

/** One call that applies a group, or a part of it, to the log of one bucket; see APPLY_SCRIPT. */
export interface ApplyPart {
  readonly header: LogHeader;
  readonly position: LogPosition;
  readonly from: number;
  readonly after: string;
  readonly part: string;
  readonly pairs: readonly { readonly pair: string; readonly lsn: number }[];
  readonly keyFences: readonly Fence[];
  readonly tagFences: readonly Fence[];
}

/** The fence logs of a source. Every call is atomic; it rejects when Redis does not do it, or does not say so. */
export interface FenceLogs {
  readonly buckets: number;
  read(bucket: number): Promise<LogReply>;
  begin(
    bucket: number,
    options: { position: LogPosition; seen: string; generation: string; applied: AppliedSet },
  ): Promise<LogReply>;
  adopt(bucket: number, options: { header: LogHeader; adoption: string; applied: AppliedSet }): Promise<LogReply>;
  apply(bucket: number, part: ApplyPart): Promise<LogReply>;
}

/** What happens, for metrics and the log. */
export interface ApplierEvents {
  readonly onApplied: (group: Group, deleted: number) => void;
  readonly onBegin: (bucket: number, reason: BeginReason, view: LogView) => void;
  readonly onAdopt: (bucket: number, applied: AppliedSet) => void;
  readonly onHole: (bucket: number, header: LogHeader) => void;
}

export interface ApplierOptions {
  readonly logs: FenceLogs;
  /** Does a call until it succeeds, with pauses; rejects only when the applier is to stop. */
  readonly persist: (call: () => Promise<LogReply>) => Promise<LogReply>;
  /** A name that was never used before. */
  readonly freshName: () => string;
  readonly maxFencesPerCall: number;
  readonly events: ApplierEvents;
}

/** What a group was turned into, once for all buckets. */
interface Work {
  readonly group: Group;
  readonly position: LogPosition;
  readonly pairs: readonly { readonly pair: string; readonly lsn: number }[];
  readonly keys: readonly (readonly Fence[])[];
  readonly tags: readonly Fence[];
}

/** Keeps the fence logs of all buckets up with the records it is given, whatever happens to Redis in between (SPEC I7). */
export class Applier {
  readonly #options: ApplierOptions;
  #views: LogView[] = [];
  #read: ReadState = { previousOffset: undefined, isAfterReset: false, older: 0 };

  constructor(options: ApplierOptions) {
    this.#options = options;
  }

  /** Learns where the logs are. Resolves to where reading must begin; undefined when any place will do. */
  async load(): Promise<number | undefined> {
    const { logs, persist } = this.#options;
    const replies = await Promise.all(
      Array.from({ length: logs.buckets }, (_, bucket) => persist(() => logs.read(bucket))),
    );
    this.#views = replies.map(viewOf);
    this.#read = { previousOffset: undefined, isAfterReset: false, older: 0 };
    return startOffset(this.#views);
  }

  /** Kafka did not have the place where reading was to go on; it goes on elsewhere. */
  afterReset(): void {
    this.#read = { ...this.#read, previousOffset: undefined, isAfterReset: true };
  }

  /**
   * Applies what was read, in its order. Resolves to the offset where reading must go on instead, if Redis went back in
   * time; what was not applied then comes again. Rejects only when the applier is to stop.
   */
  async take(groups: Iterable<Group | Unreadable>): Promise<number | undefined> {
    for (const group of groups) {
      if (group.kind === 'unreadable') {
        this.#views = this.#views.map((view) => afterUnreadable(view, group.offset));
        this.#read = { previousOffset: group.offset, isAfterReset: false, older: 0 };
        continue;
      }
      const isOlder = this.#views.some(({ header }) => header !== undefined && header.epoch > group.epoch);
      const older = isOlder ? this.#read.older + group.records : 0;
      this.#read = { ...this.#read, older };
      const seek = await this.#applyEverywhere(group);
      if (seek !== undefined) {
        this.#read = { previousOffset: undefined, isAfterReset: false, older };
        return seek;
      }
      this.#read = { previousOffset: group.nextOffset - 1, isAfterReset: false, older };
    }
    return undefined;
  }

  /** Commit position and Kafka offset that every log has reached; undefined while one of them has no header. */
  reached(): { readonly offset: number } | undefined {
    const offset = startOffset(this.#views);
    return offset === undefined || this.#views.some(({ header }) => header === undefined) ? undefined : { offset };
  }

  async #applyEverywhere(group: Group): Promise<number | undefined> {
    const { buckets } = this.#options.logs;
    const work: Work = {
      group,
      position: { epoch: group.epoch, to: group.to, visible: group.visible, nextOffset: group.nextOffset },
      pairs: group.fences.namespaces(),
      keys: group.fences.keysByBucket(buckets),
      tags: group.fences.tags(),
    };
    const results = await Promise.all(Array.from({ length: buckets }, (_, bucket) => this.#applyTo(bucket, work)));
    const seeks = results.flatMap(({ seek }) => (seek === undefined ? [] : [seek]));
    if (seeks.length > 0) return Math.min(...seeks);
    this.#options.events.onApplied(
      group,
      results.reduce((sum, { deleted }) => sum + deleted, 0),
    );
    return undefined;
  }

  async #applyTo(bucket: number, work: Work): Promise<{ readonly seek?: number; readonly deleted: number }> {
    const { logs, events, freshName } = this.#options;
    const { group, position } = work;
    for (;;) {
      const view = this.#views[bucket] as LogView;
      const action = decide(view, group, this.#read);
      switch (action.kind) {
        case 'skip':
          return { deleted: 0 };
        case 'seek':
          events.onHole(bucket, view.header as LogHeader);
          return { seek: action.offset, deleted: 0 };
        case 'begin': {
          events.onBegin(bucket, action.reason, view);
          const generation = `${position.epoch}-${position.to}-${freshName()}`;
          const begin = { position, seen: view.text, generation, applied: group.applied };
          const reply = await this.#do(bucket, () => logs.begin(bucket, begin));
          if (reply.status === 'ok') return { deleted: 0 };
          break;
        }
        case 'adopt': {
          events.onAdopt(bucket, group.applied);
          const adopt = { header: action.header, adoption: freshName(), applied: group.applied };
          await this.#do(bucket, () => logs.adopt(bucket, adopt));
          break;
        }
        case 'touch': {
          // Names the end only: should Redis have gone back since, this is a hole, not a batch without fences.
          const part = { ...lastPart(work, action.header), from: group.to, pairs: [] };
          const reply = await this.#do(bucket, () => logs.apply(bucket, part));
          if (reply.status === 'duplicate') return { deleted: 0 };
          break;
        }
        case 'pass': {
          const { epoch, to, visible } = action.header;
          const passed = { epoch, to, visible, nextOffset: group.nextOffset };
          const part = { ...lastPart(work, action.header), position: passed, from: to, pairs: [] };
          const reply = await this.#do(bucket, () => logs.apply(bucket, part));
          if (reply.status === 'duplicate') return { deleted: 0 };
          break;
        }
        case 'apply': {
          const { isDone, deleted } = await this.#applyParts(bucket, work, action.header);
          if (isDone) return { deleted };
          break;
        }
      }
    }
  }

  /** All the fences that concern a bucket, in as many calls as that takes. */
  async #applyParts(bucket: number, work: Work, header: LogHeader): Promise<{ isDone: boolean; deleted: number }> {
    const { logs, freshName, maxFencesPerCall } = this.#options;
    const keys = work.keys[bucket] ?? [];
    const total = keys.length + work.tags.length;
    let after = '-';
    let deleted = 0;
    for (let at = 0; ; at += maxFencesPerCall) {
      const end = at + maxFencesPerCall;
      const isLast = end >= total;
      const fences = {
        keyFences: keys.slice(at, end),
        tagFences: work.tags.slice(Math.max(0, at - keys.length), Math.max(0, end - keys.length)),
      };
      const base = { ...lastPart(work, header), ...fences, after };
      const part = isLast ? base : { ...base, part: freshName(), pairs: [] };
      const reply = await this.#do(bucket, () => logs.apply(bucket, part));
      deleted += reply.deleted;
      if (reply.status !== 'ok' || isLast)
        return { isDone: reply.status === 'ok' || reply.status === 'duplicate', deleted };
      after = part.part;
    }
  }

  async #do(bucket: number, call: () => Promise<LogReply>): Promise<LogReply> {
    const reply = await this.#options.persist(call);
    this.#views[bucket] = viewOf(reply);
    return reply;
  }
}

function lastPart({ group, position, pairs }: Work, header: LogHeader): ApplyPart {
  return { header, position, from: group.from, after: '-', part: '-', pairs, keyFences: [], tagFences: [] };
}
