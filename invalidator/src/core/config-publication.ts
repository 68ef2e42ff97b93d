import { nextConfigTerm, type ConfigStamp } from '@tidemark/proto';

/** What the configuration topic holds. */
export interface TopicView {
  /** The newest document that is understood; undefined where there is none. */
  readonly held: (ConfigStamp & { readonly text: string }) | undefined;
  /** Whether something older was written after it, which a reader that starts now would find first. */
  readonly isBuried: boolean;
}

/** How long what was published is waited for to be seen in the topic, ms. */
const SEEN_MS = 5000;
/** How long a later term is given way to, ms: longer than a leader that was replaced takes to notice. */
export const YIELD_MS = 30_000;

/**
 * Decides when to publish, and under which number: when the newest record is not our own, or says something else than holds now.
 * Pure: the time is passed in.
 *
 * A later term than ours means that another one leads, so nothing is written then. If that term stays although we still lead,
 * nobody is behind it (the Lease was made anew, somebody wrote by hand): then we go above it.
 */
export class ConfigPublication {
  #own: ConfigStamp | undefined;
  #publishedAtMs = Number.NEGATIVE_INFINITY;
  #yieldingSinceMs: number | undefined;

  /** The stamp of what was published last. */
  get own(): ConfigStamp | undefined {
    return this.#own;
  }

  /** Whether a later term is given way to. */
  get isYielding(): boolean {
    return this.#yieldingSinceMs !== undefined;
  }

  /** The stamp to publish the wanted document under; undefined when there is nothing to do now. */
  decide(options: {
    readonly topic: TopicView;
    readonly wanted: string;
    /** How often leadership has changed hands (0 without election). */
    readonly leaderTerm: number;
    readonly nowMs: number;
  }): ConfigStamp | undefined {
    const { topic, wanted, leaderTerm, nowMs } = options;
    const { held, isBuried } = topic;
    const own = this.#own;
    if (own === undefined) return { term: nextConfigTerm(held, leaderTerm), revision: 1 };
    if (held !== undefined && held.term > own.term) {
      this.#yieldingSinceMs ??= nowMs;
      if (nowMs - this.#yieldingSinceMs < YIELD_MS) return undefined;
      return { term: nextConfigTerm(held, leaderTerm), revision: 1 };
    }
    this.#yieldingSinceMs = undefined;
    const isOwn = held?.term === own.term && held.revision === own.revision;
    if (isOwn && held.text === wanted && !isBuried) return undefined;
    if (!isOwn && nowMs - this.#publishedAtMs < SEEN_MS) return undefined;
    const newest = held?.term === own.term ? Math.max(held.revision, own.revision) : own.revision;
    return { term: own.term, revision: newest + 1 };
  }

  /** A record was appended under this stamp. */
  published(stamp: ConfigStamp, nowMs: number): void {
    this.#own = stamp;
    this.#publishedAtMs = nowMs;
    this.#yieldingSinceMs = undefined;
  }
}
