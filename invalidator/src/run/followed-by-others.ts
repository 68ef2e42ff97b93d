import { decodeBatch } from '@tidemark/proto';
import { shareNext } from '@tidemark/runtime';
import type { Kafka } from 'kafkajs';
import { newestRecord } from '../adapters/kafka-log.ts';
import type { Followed } from '../core/position.ts';

/** For so long an answer serves, ms. Whoever is told of an epoch that is over by then learns nothing from it, and asks again. */
const FRESH_MS = 500;

/** What the leader follows, as a replica that waits knows it: from the newest record of the stream. */
export class FollowedByOthers {
  /** Rejects when Kafka cannot be asked. Undefined where nobody has published yet. */
  readonly find: () => Promise<Followed | undefined>;
  #found: { readonly followed: Followed | undefined; readonly atMs: number } | undefined;

  constructor(kafka: Kafka, topic: string) {
    const look = shareNext(async () => {
      this.#found = { followed: followedIn(await newestRecord(kafka, topic)), atMs: performance.now() };
      return this.#found.followed;
    });
    this.find = async () =>
      this.#found !== undefined && performance.now() - this.#found.atMs < FRESH_MS ? this.#found.followed : look();
  }
}

function followedIn(bytes: Uint8Array | undefined): Followed | undefined {
  if (bytes === undefined) return undefined;
  const decoded = decodeBatch(bytes);
  return decoded.kind === 'batch' ? decoded.batch : undefined;
}
