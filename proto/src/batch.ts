import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BatchSchema } from './gen/tidemark/v1/batch_pb.js';
import { lsnFromBigInt, type Lsn } from './lsn.ts';
import { checkSeal, seal } from './seal.ts';
import type { Span } from './stream.ts';

/** Version of the wire contract that this code writes and reads; see the reader's rule in batch.proto. */
export const WIRE_VERSION = 2;

/** Readers before it would pass over purges by prefix; a record with one is a flush to them. */
const PREFIX_READER = 2;

/** The changes of one table, still encoded; see {@link readTableChanges}. */
export interface TableBlock {
  readonly schema: string;
  readonly table: string;
  readonly changes: Uint8Array;
}

/** An explicit purge; `namespace` '' means every namespace of the source. */
export interface Purge {
  /** Index into {@link Batch.commits}. */
  readonly commit: number;
  readonly namespace: string;
  readonly keys: readonly string[];
  readonly tags: readonly string[];
  /** Of keys. Absent if there is none. */
  readonly prefixes?: readonly string[] | undefined;
  readonly all: boolean;
}

/** What a transaction said of itself; see mark.ts. */
export interface Mark {
  /** Index into {@link Batch.commits}. */
  readonly commit: number;
  readonly text: string;
}

/** One record of a source's stream, in the words of the protocol; batch.proto documents each field. */
export interface Batch extends Span {
  readonly source: string;
  readonly visible: Lsn;
  readonly committedAtUs: number;
  readonly publishedAtUs: number;
  readonly systemId: bigint;
  readonly timeline: number;
  readonly heartbeat: boolean;
  /** Rules hashes that the publisher serves. */
  readonly covers: readonly bigint[];
  /** Digests of the tables that `covers` rests on; absent if unknown. Only publishers look at them. */
  readonly catalog?: readonly bigint[];
  /** Absolute commit positions, ascending, each above `from`: a fence at `from` would not stop a lease of that position. */
  readonly commits: readonly Lsn[];
  readonly tables: readonly TableBlock[];
  readonly purges: readonly Purge[];
  /** Absent if there is none. */
  readonly marks?: readonly Mark[];
}

/** What a record turned out to be. */
export type DecodedBatch =
  | { readonly kind: 'batch'; readonly batch: Batch }
  /** Written for newer readers: flush everything at `span.to`. */
  | { readonly kind: 'too-new'; readonly span: Span; readonly visible: Lsn; readonly minReader: number };

/** Encodes a batch. Throws a RangeError if it breaks the contract (from > to, visible > to, commits out of range). */
export function encodeBatch(batch: Batch): Uint8Array {
  checkSpan(batch, batch.visible);
  checkCommits(batch, batch.commits);
  const body = toBinary(
    BatchSchema,
    create(BatchSchema, {
      version: WIRE_VERSION,
      minReader: batch.purges.some(({ prefixes = [] }) => prefixes.length > 0) ? PREFIX_READER : 1,
      source: batch.source,
      epoch: BigInt(batch.epoch),
      from: BigInt(batch.from),
      to: BigInt(batch.to),
      visible: BigInt(batch.visible),
      committedAtUs: BigInt(batch.committedAtUs),
      publishedAtUs: BigInt(batch.publishedAtUs),
      systemId: batch.systemId,
      timeline: batch.timeline,
      heartbeat: batch.heartbeat,
      covers: [...batch.covers],
      catalog: [...(batch.catalog ?? [])],
      commits: batch.commits.map((commit) => BigInt(commit - batch.from)),
      tables: batch.tables.map(({ schema, table, changes }) => ({ schema, table, changes })),
      purges: batch.purges.map(({ commit, namespace, keys, tags, prefixes = [], all }) => ({
        commit,
        namespace,
        keys: [...keys],
        tags: [...tags],
        prefixes: [...prefixes],
        all,
      })),
      marks: (batch.marks ?? []).map(({ commit, text }) => ({ commit, text })),
    }),
  );
  return seal(body);
}

/** Decodes a record. Throws when it is no batch, or not a whole and undamaged one, which a consumer treats as a gap. */
export function decodeBatch(bytes: Uint8Array): DecodedBatch {
  checkSeal(bytes);
  const message = fromBinary(BatchSchema, bytes);
  if (message.version === 0) throw new RangeError('no batch: the version field is missing');
  const from = lsnFromBigInt(message.from);
  const span: Span = { epoch: lsnFromBigInt(message.epoch), from, to: lsnFromBigInt(message.to) };
  const visible = lsnFromBigInt(message.visible);
  checkSpan(span, visible);
  if (message.minReader > WIRE_VERSION) return { kind: 'too-new', span, visible, minReader: message.minReader };
  const commits = message.commits.map((delta) => lsnFromBigInt(delta + message.from));
  checkCommits(span, commits);
  return {
    kind: 'batch',
    batch: {
      ...span,
      source: message.source,
      visible,
      committedAtUs: Number(message.committedAtUs),
      publishedAtUs: Number(message.publishedAtUs),
      systemId: message.systemId,
      timeline: message.timeline,
      heartbeat: message.heartbeat,
      covers: message.covers,
      ...(message.catalog.length > 0 && { catalog: message.catalog }),
      commits,
      tables: message.tables,
      purges: message.purges.map(({ commit, namespace, keys, tags, prefixes, all }) => ({
        ...{ commit, namespace, keys, tags, all },
        ...(prefixes.length > 0 && { prefixes }),
      })),
      ...(message.marks.length > 0 && { marks: message.marks }),
    },
  };
}

function checkSpan(span: Span, visible: Lsn): void {
  if (span.from > span.to) throw new RangeError(`no batch: from ${span.from} is after to ${span.to}`);
  if (visible > span.to) throw new RangeError(`no batch: visible ${visible} is after to ${span.to}`);
}

function checkCommits(span: Span, commits: readonly Lsn[]): void {
  let last = span.from + 1;
  for (const commit of commits) {
    if (commit < last || commit > span.to)
      throw new RangeError(`commit ${commit} is outside (${span.from}, ${span.to}] or out of order`);
    last = commit;
  }
}
