import { z } from 'zod';
import { crc32 } from './crc32.ts';
import { NAME_PATTERN } from './config/name.ts';

/** Version of the record in the topic of writes that this code writes and reads. */
const VERSION = 1;
const NEWLINE = 0x0a;
/** Longest first line: a key and 64 tags at their longest, in JSON. */
const MAX_HEAD_BYTES = 64 * 1024;
/** Longest name of a topic of writes: it stands in marks, which have at most 256 bytes. */
export const MAX_WRITES_TOPIC_CHARS = 200;
/** Largest body of a write, unless the namespace's `maxItemBytes` is smaller: a record has to fit what brokers take (1 MiB). */
export const MAX_PENDING_BODY_BYTES = 900 * 1024;

/** A write that waits in Kafka until it is in Postgres (SPEC I19). */
export interface PendingWrite {
  readonly namespace: string;
  readonly key: string;
  readonly kind: 'put' | 'delete';
  /** '' for a delete. */
  readonly contentType: string;
  readonly tags: readonly string[];
  /** When it was taken, ms since 1970 by the clock of the sidecar that took it. */
  readonly atMs: number;
  /** Empty for a delete. */
  readonly body: Uint8Array;
}

export type DecodedWrite =
  | { readonly kind: 'write'; readonly write: PendingWrite }
  /** A later version wrote it: only that one knows what it means. */
  | { readonly kind: 'too-new'; readonly version: number }
  /** Not written by us, or damaged. */
  | { readonly kind: 'unreadable'; readonly why: string };

/** End of the year 9999: what is later is a date neither for JavaScript nor in the text that Postgres reads. */
const MAX_AT_MS = 253_402_300_799_999;

const head = z.object({
  namespace: z.string().regex(NAME_PATTERN),
  key: z.string().min(1),
  kind: z.enum(['put', 'delete']),
  contentType: z.string(),
  tags: z.array(z.string()),
  atMs: z.int().min(0).max(MAX_AT_MS),
  bytes: z.int().min(0),
  crc32: z.int().min(0),
});

/**
 * A line of JSON, then the body as it is, so that both people with a Kafka tool and programs can read it. The checksum is of the body:
 * kafkajs does not check what brokers send. Throws a RangeError where the first line would be too long to be read.
 */
export function encodePendingWrite(write: PendingWrite): Uint8Array {
  const { namespace, key, kind, contentType, tags, atMs, body } = write;
  const line = {
    version: VERSION,
    namespace,
    key,
    kind,
    contentType,
    tags,
    atMs,
    bytes: body.length,
    crc32: crc32(body),
  };
  const text = new TextEncoder().encode(`${JSON.stringify(line)}\n`);
  if (text.length > MAX_HEAD_BYTES)
    throw new RangeError(`key and tags take ${text.length} bytes, expected at most ${MAX_HEAD_BYTES}`);
  const record = new Uint8Array(text.length + body.length);
  record.set(text);
  record.set(body, text.length);
  return record;
}

/** Never throws. The body is a view of the record. */
export function decodePendingWrite(record: Uint8Array): DecodedWrite {
  const end = record.subarray(0, MAX_HEAD_BYTES).indexOf(NEWLINE);
  if (end < 0) return { kind: 'unreadable', why: 'it does not begin with a line of JSON' };
  let found: unknown;
  try {
    found = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(record.subarray(0, end)));
  } catch {
    return { kind: 'unreadable', why: 'it does not begin with a line of JSON' };
  }
  const { version } = (found ?? {}) as { version?: unknown };
  if (typeof version === 'number' && Number.isSafeInteger(version) && version > VERSION)
    return { kind: 'too-new', version };
  const parsed = version === VERSION ? head.safeParse(found) : undefined;
  if (parsed?.success !== true) return { kind: 'unreadable', why: 'its first line is not that of a write' };
  const { bytes, crc32: expected, ...rest } = parsed.data;
  const body = record.subarray(end + 1);
  if (body.length !== bytes || crc32(body) !== expected)
    return { kind: 'unreadable', why: `its body is not the ${bytes} bytes that were written` };
  return { kind: 'write', write: { ...rest, body } };
}

const FLUSHED = 'flushed';
/** Partition of the only one: the order of writes is that of their offsets. */
const PARTITION = 0;

/** The word of the mark that a flush leaves in the WAL (see {@link formatFlushedMark}). */
export const FLUSHED_MARK_WORD = FLUSHED;

/** Says in the WAL that every write below an offset is in Postgres, or parked, once this is committed. */
export function formatFlushedMark(topic: string, nextOffset: number): string {
  return `${FLUSHED}:${topic}:${PARTITION}:${nextOffset}`;
}

/** The next offset in a mark about this topic, given without its first word; undefined for any other text. */
export function parseFlushedMark(topic: string, rest: string): number | undefined {
  const prefix = `${topic}:${PARTITION}:`;
  if (!rest.startsWith(prefix)) return undefined;
  const digits = rest.slice(prefix.length);
  const offset = Number(digits);
  return /^\d{1,16}$/.test(digits) && Number.isSafeInteger(offset) ? offset : undefined;
}
