import type { NamespaceConfig } from '@tidemark/proto';
import type { Logger } from '@tidemark/runtime';
import { KafkaWriteFeed, KafkaWriteLog } from './adapters/kafka-writes.ts';
import { BehindCounters, BehindWriter, type BehindWriterParts } from './core/behind-writer.ts';
import type { Taken } from './core/configuration.ts';
import type { Namespace } from './core/namespace.ts';
import { PendingFollower, type FlushedClient } from './core/pending-follower.ts';
import type { PendingNamespace } from './core/pending-namespace.ts';
import { PendingWrites } from './core/pending-writes.ts';
import type { Clock } from './core/ports.ts';
import type { SourceReplica } from './core/replica.ts';
import type { WriteFailure, Writer, Written } from './core/writer.ts';
import { etagOf } from './http/etag.ts';

/** Longest that a write waits for Kafka; and, once it is there, until reads here see it. */
const APPEND_MS = 10_000;
const SEEN_MS = 5_000;
/** Most bytes of writes that wait for Kafka. */
const MAX_QUEUED_BYTES = 16 * 1024 * 1024;
/** Names no topic: a sidecar that was not told one knows of no write. */
const NO_TOPIC = '';

type Kafka = ConstructorParameters<typeof KafkaWriteFeed>[0]['kafka'];

export interface BehindOptions {
  readonly topic: string | undefined;
  readonly kafka: Kafka;
  readonly replica: SourceReplica;
  readonly client: FlushedClient | undefined;
  readonly clock: Clock;
  readonly maxStalenessMs: number;
  readonly logger: Logger;
}

/**
 * What makes writes of namespaces with `writeBehind` wait in Kafka, and reads see them meanwhile (SPEC I19). It connects to nothing
 * until a namespace needs it.
 */
export function createBehind(options: BehindOptions) {
  const { topic, kafka, replica, client, clock, maxStalenessMs, logger } = options;
  const writes = new PendingWrites({ topic: topic ?? NO_TOPIC, replica, maxStalenessMs, etagOf });
  const counters = new Map<string, BehindCounters>();
  let parts: { readonly follower: PendingFollower; readonly log: KafkaWriteLog } | undefined;
  let isChanged = false;
  const open = (name: string) => {
    const follower = new PendingFollower({
      topic: name,
      writes,
      client,
      feed: new KafkaWriteFeed({ kafka, topic: name, logger }),
      replica,
      clock,
      events: {
        unknown: (why) =>
          logger.warn({ topic: name, why }, 'it is not known which writes wait: their namespaces are bypassed'),
        known: ({ offset }) => logger.info({ topic: name, offset }, 'it is known again which writes wait'),
      },
    });
    return {
      follower,
      log: new KafkaWriteLog({ kafka, topic: name, deadlineMs: APPEND_MS, maxQueuedBytes: MAX_QUEUED_BYTES }),
    };
  };
  return {
    writes,
    counters,
    get restarts(): number {
      return parts?.follower.restarts ?? 0;
    },
    /** What a namespace of the document has waiting; undefined where it takes no such writes. */
    createPending(name: string, { writeBehind }: NamespaceConfig): PendingNamespace | undefined {
      isChanged ||= writeBehind !== undefined || writes.namespaces.has(name);
      if (writeBehind !== undefined) return writes.serve(name, writeBehind.maxPending);
      writes.retire(name);
      return undefined;
    },
    /** A document was taken. */
    taken({ removed }: Taken): void {
      for (const name of removed) {
        isChanged ||= writes.namespaces.has(name);
        writes.retire(name);
      }
      if (!isChanged) return;
      isChanged = false;
      if (topic === undefined) {
        if (writes.namespaces.size > 0)
          logger.error(
            { namespaces: [...writes.namespaces.keys()] },
            'namespaces have writeBehind, but TIDEMARK_WRITES_TOPIC is not set: they are bypassed',
          );
        return;
      }
      if (writes.namespaces.size > 0) parts ??= open(topic);
      parts?.follower.restart();
    },
    /** Marks may have been missed. */
    broke: () => parts?.follower.restart(),
    writerOf({ name, config, pending }: Namespace): Writer | undefined {
      if (config.writeBehind === undefined || pending === undefined) return undefined;
      if (parts === undefined) return NO_TOPIC_WRITER;
      let counted = counters.get(name);
      if (counted === undefined) counters.set(name, (counted = new BehindCounters()));
      const shared: BehindWriterParts = { log: parts.log, writes, clock, seenMs: SEEN_MS };
      return new BehindWriter(shared, { config: config.writeBehind, pending, counters: counted });
    },
    async stop(): Promise<void> {
      await parts?.log.stop();
      await parts?.follower.stop();
    },
  };
}

/** Refuses every write. */
function refusing(why: WriteFailure, detail: string): Writer {
  const refused = (): Promise<Written> => Promise.resolve({ kind: 'failed', why, detail });
  return { headers: [], put: refused, delete: refused };
}

/** Of a sidecar that was told no topic. */
const NO_TOPIC_WRITER = refusing('misconfigured', 'TIDEMARK_WRITES_TOPIC is not set for this sidecar');

/** Of a sidecar that does not know yet which namespaces there are. */
export const UNCONFIGURED_WRITER = refusing('unavailable', 'this sidecar has no configuration yet');
