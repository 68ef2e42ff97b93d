import { createKafka, createLogger, isMissingTopic, openTopicLookup } from '@tidemark/runtime';
import type { Kafka } from 'kafkajs';
import { openCapture } from '../adapters/capture-file.ts';
import { kafkaStream } from '../adapters/kafka-stream.ts';
import type { ReplayConfig } from '../config.ts';
import { OperatorError } from '../core/errors.ts';
import type { Bound } from '../core/replay/bound.ts';
import type { CaptureHeader } from '../core/replay/capture-format.ts';
import type { RecordStream } from '../core/replay/ports.ts';
import { formatPosition, type End, type Range, type Start } from '../core/replay/range.ts';
import { planOf, type Plan } from './plan.ts';

/** Records and which of them are meant. */
export interface Source {
  readonly stream: RecordStream;
  readonly range: Range;
  readonly notes: readonly string[];
}

export interface Bounds {
  readonly from: Bound | undefined;
  readonly to: Bound | undefined;
}

type KafkaSettings = Pick<ReplayConfig, 'kafka' | 'topic' | 'instance' | 'logLevel'>;

/** A plan for a topic, and the means to carry it out. */
export interface PlannedTopic {
  readonly plan: Plan;
  /** Reads from an offset on up to another. */
  readonly read: (from: number, end: number) => RecordStream;
}

/** Throws {@link OperatorError} for bounds that the topic does not have. */
export async function planTopic(
  config: KafkaSettings,
  { from, to, resumeAt }: Bounds & { readonly resumeAt: number | undefined },
): Promise<PlannedTopic> {
  const { topic, instance } = config;
  const logger = createLogger({ service: 'replay', instance, level: config.logLevel, to: 'stderr' });
  const kafka: Kafka = createKafka({ ...config.kafka, clientId: `tidemark-replay-${instance}`, logger });
  const lookup = openTopicLookup(kafka, topic);
  try {
    const bounds = { from: from ?? { kind: 'earliest' }, to: to ?? { kind: 'latest' } } as const;
    const plan = await planOf(lookup, { topic, ...bounds, resumeAt });
    return { plan, read: (start, end) => kafkaStream({ kafka, topic, from: start, end, logger }) };
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw new OperatorError(
      isMissingTopic(error)
        ? `topic ${topic}: there is none, expected the one that the invalidator writes (sources in the configuration name it)`
        : `Kafka cannot be read at ${config.kafka.brokers.join(', ')}: ${(error as Error).message} (TIDEMARK_KAFKA_BROKERS says where it is)`,
    );
  } finally {
    lookup.close();
  }
}

/** A part of the topic, from where an earlier run had come to if there was one. */
export async function topicSource(
  config: KafkaSettings,
  bounds: Bounds & { readonly resumeAt: number | undefined },
): Promise<Source> {
  const { plan, read } = await planTopic(config, bounds);
  const { range, fromOffset, endOffset, notes } = plan;
  return { range, notes, stream: read(fromOffset, endOffset) };
}

/** A part of a capture; as a whole it is what was captured. */
export async function captureSource(path: string, { from, to }: Bounds): Promise<Source> {
  const { header, stream } = await openCapture(path);
  const notes: string[] = [];
  const range: Range = {
    from: from === undefined ? header.range.from : startIn(header, from, notes),
    to: to === undefined ? header.range.to : endIn(header, to, notes),
  };
  return { stream, range, notes };
}

function startIn(header: CaptureHeader, bound: Bound, notes: string[]): Start {
  if (bound.kind === 'latest')
    throw new OperatorError('--from latest: found the end of the capture, expected a place before it');
  if (bound.kind === 'earliest') return header.range.from;
  return bound.kind === 'time'
    ? bound
    : { kind: 'position', ...positionIn(header, bound, { option: '--from', notes }) };
}

function endIn(header: CaptureHeader, bound: Bound, notes: string[]): End {
  if (bound.kind === 'earliest')
    throw new OperatorError('--to earliest: found the beginning of the capture, expected a place behind it');
  if (bound.kind === 'latest') return header.range.to;
  return bound.kind === 'time' ? bound : { kind: 'position', ...positionIn(header, bound, { option: '--to', notes }) };
}

function positionIn(
  { newestEpoch }: CaptureHeader,
  { epoch, lsn }: { readonly epoch: number | undefined; readonly lsn: number },
  { option, notes }: { readonly option: string; readonly notes: string[] },
): { readonly epoch: number; readonly lsn: number } {
  if (epoch !== undefined) return { epoch, lsn };
  if (newestEpoch === undefined) throw new OperatorError(`${option}: the capture is empty, so no position is in it`);
  notes.push(
    `${option} is taken for ${formatPosition({ epoch: newestEpoch, lsn })}: ${newestEpoch} is the newest epoch of the capture`,
  );
  return { epoch: newestEpoch, lsn };
}
