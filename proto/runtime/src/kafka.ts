import { Kafka, logLevel, type LogEntry, type SASLOptions } from 'kafkajs';
import { applyKafkaFixes } from './kafka-fixes.ts';
import type { Logger } from './logger.ts';
import type { TlsIdentity } from './tls-files.ts';

export interface KafkaOptions {
  /** `host:port` of some brokers; the others are learned from them. */
  readonly brokers: readonly string[];
  /** False for none. Without authorities of its own, the system's and NODE_EXTRA_CA_CERTS decide whom to trust. */
  readonly tls: TlsIdentity | false;
  readonly sasl?: SASLOptions;
  readonly clientId: string;
  readonly logger: Logger;
}

/** Every request is answered within this time, or its socket is destroyed. */
export const KAFKA_REQUEST_TIMEOUT_MS = 5_000;

/** A mended kafkajs (see kafka-fixes.ts) whose log goes to ours. Connects only when it is used. */
export function createKafka(options: KafkaOptions): Kafka {
  applyKafkaFixes();
  process.env['KAFKAJS_NO_PARTITIONER_WARNING'] ??= '1';
  return new Kafka({
    brokers: [...options.brokers],
    ssl: options.tls,
    ...(options.sasl === undefined ? {} : { sasl: options.sasl }),
    clientId: options.clientId,
    connectionTimeout: 2_000,
    authenticationTimeout: 3_000,
    requestTimeout: KAFKA_REQUEST_TIMEOUT_MS,
    // Short: whoever uses the connection has a backoff of its own and wants to know.
    retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 2 },
    logLevel: logLevel.INFO,
    logCreator: () => logTo(options.logger),
  });
}

/** The same complaint is told at most once in this time, ms. */
const REPEAT_MS = 30_000;
const MAX_REMEMBERED = 100;

/** Meant for those who go on with a producer that has given up; ours are thrown away then. */
const IRRELEVANT = 'Limiting retries for the idempotent producer may invalidate EoS guarantees';

/** kafkajs tells every failed attempt as an error; what matters is told by those who use it, so its levels go down by one. */
function logTo(logger: Logger): (entry: LogEntry) => void {
  const toldAt = new Map<string, number>();
  return ({ namespace, level, log }) => {
    const { message, timestamp: _timestamp, logger: _logger, stack: _stack, ...fields } = log;
    if (level > logLevel.WARN || message === IRRELEVANT) {
      logger.debug({ kafka: fields, namespace }, message);
      return;
    }
    const now = performance.now();
    const last = toldAt.get(message);
    if (last !== undefined && now - last < REPEAT_MS) return;
    if (toldAt.size >= MAX_REMEMBERED) toldAt.clear();
    toldAt.set(message, now);
    logger.warn({ kafka: fields, namespace }, `kafkajs: ${message}`);
  };
}
