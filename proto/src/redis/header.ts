import type { Lsn } from '../lsn.ts';

/** Header of a fence log: what it covers and under which names. */
export interface LogHeader {
  /** Names this run of the log; entries of another generation are unreachable. */
  readonly generation: string;
  /** Counts changes of the set of namespaces that are applied. */
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
}

/** Undefined for a header that this version does not understand; the caller treats the log as missing. */
export function parseHeader(text: string): LogHeader | undefined {
  const parts = text.split(' ');
  if (parts.length !== 10 || parts[0] !== '1') return undefined;
  const [, generation, adoption, epoch, from, tagFrom, to, visible, offset, digest] = parts as [
    string, string, string, string, string, string, string, string, string, string,
  ];
  return {
    generation,
    adoption,
    epoch: Number(epoch),
    from: Number(from),
    tagFrom: Number(tagFrom),
    to: Number(to),
    visible: Number(visible),
    offset,
    digest,
  };
}

/** State of a namespace in a log. */
export interface PairState {
  readonly adoption: string;
  /** The log holds this namespace's invalidations above this position. */
  readonly from: Lsn;
  /** Newest invalidation of the whole namespace. */
  readonly fence: Lsn;
}

export function parsePair(text: string): PairState | undefined {
  const [adoption, from, fence, ...rest] = text.split(' ');
  if (adoption === undefined || from === undefined || fence === undefined || rest.length > 0) return undefined;
  return { adoption, from: Number(from), fence: Number(fence) };
}
