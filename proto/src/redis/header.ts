import type { Lsn } from '../lsn.ts';

/** Header of a fence log: what it covers and under which names. */
export interface LogHeader {
  /** Names this run of the log; entries of another generation are unreachable. */
  readonly generation: string;
  /** Names the set of namespaces that are applied since it last changed; never used twice. */
  readonly adoption: string;
  readonly epoch: number;
  /** Key fences are complete for positions above this. */
  readonly from: Lsn;
  /** Tag fences are complete for positions above this. */
  readonly tagFrom: Lsn;
  /** Everything up to this position was applied. */
  readonly to: Lsn;
  readonly visible: Lsn;
  /** Kafka offset of the record that comes next. */
  readonly offset: string;
  /** Digest of the set of namespaces that are applied. */
  readonly digest: string;
  /** Name of the newest part of a batch whose last part is still to come, or '-'. */
  readonly parts: string;
}

/** Undefined for a header that this version does not understand; the caller treats the log as missing. */
export function parseHeader(text: string): LogHeader | undefined {
  const [version, generation, adoption, epoch, from, tagFrom, to, visible, offset, digest, parts, ...rest] =
    text.split(' ');
  if (version !== '1' || !generation || !adoption || !isDigits(offset) || !digest || !parts || rest.length > 0)
    return undefined;
  const numbers = {
    epoch: exact(epoch),
    from: exact(from),
    tagFrom: exact(tagFrom),
    to: exact(to),
    visible: exact(visible),
  };
  return areExact(numbers) ? { generation, adoption, ...numbers, offset, digest, parts } : undefined;
}

/** State of a namespace in a log. */
export interface PairState {
  readonly adoption: string;
  /** The log holds this namespace's invalidations above this position. */
  readonly from: Lsn;
  /** Newest invalidation of the whole namespace. */
  readonly fence: Lsn;
}

/** Undefined for anything else than what the scripts write; the caller treats the namespace as unknown. */
export function parsePair(text: string): PairState | undefined {
  const [adoption, from, fence, ...rest] = text.split(' ');
  if (!adoption || rest.length > 0) return undefined;
  const numbers = { from: exact(from), fence: exact(fence) };
  return areExact(numbers) ? { adoption, ...numbers } : undefined;
}

function isDigits(text: string | undefined): text is string {
  return text !== undefined && /^\d+$/.test(text);
}

/** A number that is not plain would compare as "no newer fence", so it becomes NaN here and is refused as a whole. */
function exact(text: string | undefined): number {
  return isDigits(text) ? Number(text) : Number.NaN;
}

function areExact(numbers: Readonly<Record<string, number>>): boolean {
  return Object.values(numbers).every(Number.isSafeInteger);
}
