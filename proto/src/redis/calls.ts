import { restamp, type Entry } from '../envelope.ts';
import type { Lsn } from '../lsn.ts';
import { parseHeader, type LogHeader } from './header.ts';
import { fenceMember, type BucketKeys } from './layout.ts';

/** Keys and arguments of one call of a script, in the order that scripts.ts documents. */
export interface ScriptCall {
  readonly keys: readonly string[];
  readonly args: readonly (string | number)[];
}

/** A fence on a key or a tag of a namespace. */
export interface Fence {
  /** Hash of the namespace's rules, 16 hex digits. */
  readonly pair: string;
  readonly name: string;
  readonly lsn: Lsn;
}

/** Where a log begins, or what a batch moves it to. */
export interface LogPosition {
  readonly epoch: number;
  readonly to: Lsn;
  readonly visible: Lsn;
  /** Kafka offset of the record that comes next. */
  readonly nextOffset: number;
}

/** A call of BEGIN_SCRIPT. */
export function beginCall(
  keys: BucketKeys,
  options: {
    readonly position: LogPosition;
    /** The header that was seen, as it stands in Redis; '' when there was none. */
    readonly seen: string;
    readonly generation: string;
    readonly digest: string;
    readonly pairs: readonly string[];
  },
): ScriptCall {
  const { position, seen, generation, digest, pairs } = options;
  return {
    keys: [keys.log, keys.keyFences, keys.tagFences, ...pairs.map(keys.pair)],
    args: [seen, generation, position.epoch, position.to, position.visible, position.nextOffset, digest],
  };
}

/** A call of ADOPT_SCRIPT. */
export function adoptCall(
  keys: BucketKeys,
  options: {
    readonly header: LogHeader;
    readonly adoption: string;
    readonly digest: string;
    readonly pairs: readonly string[];
  },
): ScriptCall {
  const { header, adoption, digest, pairs } = options;
  return { keys: [keys.log, ...pairs.map(keys.pair)], args: [header.generation, header.adoption, adoption, digest] };
}

/** A call of APPLY_SCRIPT. */
export function applyCall(
  keys: BucketKeys,
  options: {
    /** The header that was seen: the call is refused when another generation or adoption has begun since. */
    readonly header: LogHeader;
    readonly position: LogPosition;
    readonly from: Lsn;
    readonly maxFences: number;
    /** Names of the part before this one ('-': this is the first) and of this one ('-': this is the last, or the only one). */
    readonly after: string;
    readonly part: string;
    /** Namespaces with their newest fence, 0 for none; only in the last part. */
    readonly pairs: readonly { readonly pair: string; readonly lsn: Lsn }[];
    readonly keyFences: readonly Fence[];
    readonly tagFences: readonly Fence[];
  },
): ScriptCall {
  const { header, position, from, maxFences, after, part, pairs, keyFences, tagFences } = options;
  const { generation, adoption } = header;
  const args: (string | number)[] = [generation, adoption, position.epoch, from, position.to, position.visible];
  args.push(position.nextOffset, maxFences, after, part, pairs.length, keyFences.length);
  return withFences(keys, generation, { pairs, keyFences, tagFences, args });
}

/** A call with fences behind its own arguments: of namespaces, of keys with their entries, of tags. */
function withFences(
  keys: BucketKeys,
  generation: string,
  call: {
    readonly args: readonly (string | number)[];
    readonly pairs: readonly { readonly pair: string; readonly lsn: Lsn }[];
    readonly keyFences: readonly Fence[];
    readonly tagFences: readonly Fence[];
  },
): ScriptCall {
  const callKeys = [keys.log, keys.keyFences, keys.tagFences];
  const args = [...call.args];
  for (const { pair, lsn } of call.pairs) {
    callKeys.push(keys.pair(pair));
    args.push(lsn);
  }
  for (const { pair, name, lsn } of call.keyFences) {
    callKeys.push(keys.entry(generation, pair, name));
    args.push(lsn, fenceMember(pair, name));
  }
  for (const { pair, name, lsn } of call.tagFences) args.push(lsn, fenceMember(pair, name));
  return { keys: callKeys, args };
}

/** A call of RAISE_SCRIPT. */
export function raiseCall(
  keys: BucketKeys,
  options: {
    /** The header that was seen: the call is refused when another generation or adoption has begun since. */
    readonly header: LogHeader;
    readonly maxFences: number;
    readonly pairs: readonly { readonly pair: string; readonly lsn: Lsn }[];
    readonly keyFences: readonly Fence[];
    readonly tagFences: readonly Fence[];
  },
): ScriptCall {
  const { header, maxFences, pairs, keyFences, tagFences } = options;
  const { generation, adoption, epoch } = header;
  const args: (string | number)[] = [generation, adoption, epoch, maxFences, pairs.length, keyFences.length];
  return withFences(keys, generation, { pairs, keyFences, tagFences, args });
}

/** A call of GET_TAGGED_SCRIPT. */
export function getTaggedCall(
  keys: BucketKeys,
  options: {
    /** Rules of the namespaces, 16 hex digits each, in the order of the answer. */
    readonly pairs: readonly string[];
    readonly entries: readonly { readonly generation: string; readonly pair: string; readonly name: string }[];
  },
): ScriptCall {
  const { pairs, entries } = options;
  const names = entries.map(({ generation, pair, name }) => keys.entry(generation, pair, name));
  return {
    keys: [keys.log, keys.tagFences, ...pairs.map(keys.pair), ...names],
    args: [pairs.length, ...entries.map(({ pair }) => fenceMember(pair, ''))],
  };
}

/** A call of PROMOTE_SCRIPT. */
export function promoteCall(
  keys: BucketKeys,
  options: {
    readonly generation: string;
    /** The namespace's rules, 16 hex digits. */
    readonly pair: string;
    readonly name: string;
    readonly entry: Entry;
    /** The same as it was read: what lies in Redis. */
    readonly stored: Uint8Array;
    /** `to` of the log that the entry was read with. */
    readonly to: Lsn;
  },
): { readonly keys: readonly string[]; readonly args: readonly (string | number | Uint8Array)[] } {
  const { generation, pair, name, entry, stored, to } = options;
  const { before, after } = restamp(stored, to);
  const members = entry.tags.map((tag) => fenceMember(pair, tag));
  return {
    keys: [keys.log, keys.tagFences, keys.pair(pair), keys.entry(generation, pair, name)],
    args: [generation, entry.epoch, to, before, after, ...members],
  };
}

export type LogStatus = 'ok' | 'duplicate' | 'hole' | 'changed' | 'missing' | 'damaged';

/** What the scripts of the fence log answer. */
export interface LogReply {
  readonly status: LogStatus;
  /** The header after the call as it stands in Redis; '' when there is none. */
  readonly text: string;
  /** The same, understood; undefined when there is none, or one of another version. */
  readonly header: LogHeader | undefined;
  /** Entries that were deleted because a fence forbids them. */
  readonly deleted: number;
  /** Their chunks, which nothing names any more ({@link chunkKeys}). */
  readonly chunks: readonly string[];
}

const STATUSES: ReadonlySet<string> = new Set<LogStatus>(['ok', 'duplicate', 'hole', 'changed', 'missing', 'damaged']);

/** Throws a RangeError when this is no answer of those scripts. */
export function parseLogReply(reply: unknown): LogReply {
  const [status, found, deleted, chunks] = Array.isArray(reply) ? (reply as unknown[]) : [];
  const word = toText(status);
  if (!STATUSES.has(word)) throw new RangeError(`Redis answered ${JSON.stringify(word)} to a script of the fence log`);
  const text = toText(found);
  return {
    status: word as LogStatus,
    text,
    header: parseHeader(text),
    deleted: typeof deleted === 'number' ? deleted : 0,
    chunks: Array.isArray(chunks) ? chunks.map(toText) : [],
  };
}

const decoder = new TextDecoder();

function toText(value: unknown): string {
  if (typeof value === 'string') return value;
  return value instanceof Uint8Array ? decoder.decode(value) : '';
}
