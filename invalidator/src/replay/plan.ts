import { decodeBatch, type Span } from '@tidemark/proto';
import type { KafkaRecord, TopicLookup } from '@tidemark/runtime';
import { OperatorError } from '../core/errors.ts';
import type { Bound } from '../core/replay/bound.ts';
import {
  comparePositions,
  formatPosition,
  type End,
  type Range,
  type Start,
  type StreamPosition,
} from '../core/replay/range.ts';
import { searchPosition } from '../core/replay/search.ts';

/** What is to be read of a topic. */
export interface Plan {
  readonly range: Range;
  /** Reading begins here, at or before the first record of the range. */
  readonly fromOffset: number;
  /** Reading ends before this offset; the range may end earlier. */
  readonly endOffset: number;
  /** The newest epoch of the stream, if it has any. */
  readonly newestEpoch: number | undefined;
  /** What a person should know of how the bounds were understood. */
  readonly notes: readonly string[];
}

interface Edge {
  readonly offset: number;
  readonly timestampMs: number;
  readonly span: Span | undefined;
}

/** So many records are looked at for one that can be read. */
const MAX_UNREADABLE = 100;

/** Finds the bounds of a replay in a topic. Throws {@link OperatorError} for a place that is not there. */
export async function planOf(
  lookup: TopicLookup,
  options: { readonly topic: string; readonly from: Bound; readonly to: Bound; readonly resumeAt: number | undefined },
): Promise<Plan> {
  const { topic, from, to, resumeAt } = options;
  const { earliest, next } = await lookup.bounds();
  const probe = async (offset: number): Promise<Edge | undefined> => {
    const record = await lookup.recordAt(offset, next);
    return record === undefined ? undefined : edgeOf(record);
  };
  const oldest = await firstReadable(probe, earliest, next);
  const newest = await lastReadable(probe, earliest, next);
  if (next > earliest && (oldest?.span === undefined || newest?.span === undefined))
    throw new OperatorError(`topic ${topic} holds records ${earliest} to ${next - 1}, but none of Tidemark's`);
  const notes: string[] = [];
  const world = { topic, earliest, oldest, newest, notes };
  const start = startOf(from, world);
  const end = endOf(to, world);
  if (resumeAt !== undefined && resumeAt < earliest)
    throw new OperatorError(
      `an earlier run came to offset ${resumeAt} of ${topic}, but Kafka has removed what was before ${told(oldest, earliest)} (retention): delete what it left (checkpoint or unfinished capture) to begin anew`,
    );
  let fromOffset = earliest;
  if (resumeAt !== undefined) fromOffset = resumeAt;
  else if (start.kind === 'position') fromOffset = await searchPosition(start, { earliest, next }, probe);
  // One record more, so that a gap at the very beginning is seen.
  else if (start.kind === 'time') fromOffset = Math.max(earliest, ((await lookup.offsetAt(start.timeMs)) ?? next) - 1);
  const endOffset = end.kind === 'time' ? ((await lookup.offsetAt(end.timeMs + 1)) ?? next) : next;
  return { range: { from: start, to: end }, fromOffset, endOffset, newestEpoch: newest?.span?.epoch, notes };
}

interface World {
  readonly topic: string;
  readonly earliest: number;
  readonly oldest: Edge | undefined;
  readonly newest: Edge | undefined;
  readonly notes: string[];
}

function startOf(bound: Bound, world: World): Start {
  const { topic, earliest, oldest, newest } = world;
  const gone = (what: string): OperatorError =>
    new OperatorError(
      `--from ${what}: Kafka has removed the records before ${told(oldest, earliest)} (retention): the earliest available is --from ${oldest?.span === undefined ? 'earliest' : formatPosition({ epoch: oldest.span.epoch, lsn: oldest.span.from + 1 })}, or --from earliest`,
    );
  switch (bound.kind) {
    case 'earliest':
      return { kind: 'any' };
    case 'latest':
      throw new OperatorError('--from latest: found the end of the stream, expected a place before it');
    case 'time': {
      // A topic that lost nothing has simply no older records.
      if (earliest > 0 && oldest !== undefined && bound.timeMs < oldest.timestampMs)
        throw gone(new Date(bound.timeMs).toISOString());
      return { kind: 'time', timeMs: bound.timeMs };
    }
    case 'position': {
      const wanted = positionOf(bound, '--from', world);
      if (newest?.span !== undefined && comparePositions(wanted, endOfSpan(newest.span)) > 0)
        throw new OperatorError(
          `--from ${formatPosition(wanted)}: topic ${topic} ends at ${formatPosition(endOfSpan(newest.span))}, expected a position up to there`,
        );
      if (earliest > 0 && oldest?.span !== undefined) {
        const { epoch, from } = oldest.span;
        if (comparePositions(wanted, { epoch, lsn: from + 1 }) < 0) throw gone(formatPosition(wanted));
      }
      return { kind: 'position', ...wanted };
    }
  }
}

function endOf(bound: Bound, world: World): End {
  switch (bound.kind) {
    case 'earliest':
      throw new OperatorError('--to earliest: found the beginning of the stream, expected a place behind it');
    case 'latest':
      return { kind: 'open' };
    case 'time':
      return { kind: 'time', timeMs: bound.timeMs };
    case 'position':
      return { kind: 'position', ...positionOf(bound, '--to', world) };
  }
}

function positionOf(
  { epoch, lsn }: { readonly epoch: number | undefined; readonly lsn: number },
  option: string,
  { newest, topic, notes }: World,
): StreamPosition {
  const newestEpoch = newest?.span?.epoch;
  if (newestEpoch === undefined) throw new OperatorError(`${option}: topic ${topic} is empty, so no position is in it`);
  if (epoch !== undefined && epoch > newestEpoch)
    throw new OperatorError(
      `${option} ${formatPosition({ epoch, lsn })}: found epoch ${epoch}, expected at most ${newestEpoch}, the newest of ${topic}`,
    );
  if (epoch === undefined)
    notes.push(
      `${option} is taken for ${formatPosition({ epoch: newestEpoch, lsn })}: ${newestEpoch} is the newest epoch`,
    );
  return { epoch: epoch ?? newestEpoch, lsn };
}

async function firstReadable(
  probe: (offset: number) => Promise<Edge | undefined>,
  earliest: number,
  next: number,
): Promise<Edge | undefined> {
  let offset = earliest;
  for (let looked = 0; offset < next && looked < MAX_UNREADABLE; looked++) {
    const edge = await probe(offset);
    if (edge === undefined || edge.span !== undefined) return edge;
    offset = edge.offset + 1;
  }
  return undefined;
}

async function lastReadable(
  probe: (offset: number) => Promise<Edge | undefined>,
  earliest: number,
  next: number,
): Promise<Edge | undefined> {
  for (let offset = next - 1; offset >= Math.max(earliest, next - MAX_UNREADABLE); offset--) {
    const edge = await probe(offset);
    if (edge?.span !== undefined) return edge;
  }
  return undefined;
}

function edgeOf({ offset, timestampMs, value }: KafkaRecord): Edge {
  try {
    const decoded = decodeBatch(value);
    return { offset, timestampMs, span: decoded.kind === 'batch' ? decoded.batch : decoded.span };
  } catch {
    return { offset, timestampMs, span: undefined };
  }
}

function endOfSpan({ epoch, to }: Span): StreamPosition {
  return { epoch, lsn: to };
}

function told(edge: Edge | undefined, offset: number): string {
  if (edge?.span === undefined) return `offset ${offset}`;
  const { span, timestampMs } = edge;
  return `${formatPosition({ epoch: span.epoch, lsn: span.from })} (${new Date(timestampMs).toISOString()})`;
}
