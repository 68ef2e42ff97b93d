import { Cell, lsnFromBigInt, type CellValue, type Lsn } from '@tidemark/proto';

/**
 * Decoder of pgoutput, protocol version 1 with messages (Postgres documentation, "Logical Replication Message
 * Formats"). Row messages stay undecoded: they say where their tuples lie, so that only the columns some rule names
 * are ever turned into strings.
 */

/** A column as a relation message describes it. */
export interface RelationColumn {
  readonly name: string;
  /** Part of the replica identity; with REPLICA IDENTITY FULL every column is. */
  readonly identity: boolean;
}

export type PgMessage =
  | { readonly kind: 'begin'; readonly xid: number; readonly committedAtUs: number }
  /** `start` and `end` of the commit record. */
  | { readonly kind: 'commit'; readonly start: Lsn; readonly end: Lsn }
  | {
      readonly kind: 'relation';
      readonly oid: number;
      readonly schema: string;
      readonly table: string;
      readonly columns: readonly RelationColumn[];
    }
  | { readonly kind: 'insert'; readonly oid: number; readonly newAt: number }
  | {
      readonly kind: 'update';
      readonly oid: number;
      readonly old: OldTuple;
      readonly oldAt: number;
      readonly newAt: number;
    }
  | { readonly kind: 'delete'; readonly oid: number; readonly old: OldTuple; readonly oldAt: number }
  | { readonly kind: 'truncate'; readonly oids: readonly number[] }
  | {
      readonly kind: 'message';
      readonly transactional: boolean;
      readonly lsn: Lsn;
      readonly prefix: string;
      readonly content: Buffer;
    }
  /** Type and origin messages, which say nothing about rows. */
  | { readonly kind: 'other' };

/** What an update or delete says of the old row: nothing, its replica identity, or all of it. */
export type OldTuple = 'none' | 'key' | 'full';

/** A message that contradicts the protocol; the stream cannot be trusted any further. */
export class PgoutputError extends Error {
  override name = 'PgoutputError';
}

/** Microseconds from 1970 to 2000, the epoch of Postgres. */
const POSTGRES_EPOCH_US = 946_684_800_000_000;

/** O(1) but for relation messages and the skipping of an update's old tuple. Throws {@link PgoutputError}. */
export function decodeMessage(bytes: Buffer): PgMessage {
  try {
    return decode(bytes);
  } catch (error) {
    if (error instanceof PgoutputError) throw error;
    throw new PgoutputError(`a message of type ${printable(bytes[0])} and ${bytes.length} bytes ends early`, {
      cause: error,
    });
  }
}

function decode(bytes: Buffer): PgMessage {
  switch (bytes[0]) {
    case 0x42: // B
      return {
        kind: 'begin',
        committedAtUs: Number(bytes.readBigInt64BE(9)) + POSTGRES_EPOCH_US,
        xid: bytes.readUInt32BE(17),
      };
    case 0x43: // C
      return {
        kind: 'commit',
        start: lsnFromBigInt(bytes.readBigUInt64BE(2)),
        end: lsnFromBigInt(bytes.readBigUInt64BE(10)),
      };
    case 0x49: // I
      expectByte(bytes, 5, 0x4e);
      return { kind: 'insert', oid: bytes.readUInt32BE(1), newAt: 6 };
    case 0x55: // U
      return decodeUpdate(bytes);
    case 0x44: // D
      return {
        kind: 'delete',
        oid: bytes.readUInt32BE(1),
        old: bytes.readUInt8(5) === 0x4f ? 'full' : expectByte(bytes, 5, 0x4b) && 'key',
        oldAt: 6,
      };
    case 0x52: // R
      return decodeRelation(bytes);
    case 0x54: // T
      return {
        kind: 'truncate',
        oids: Array.from({ length: bytes.readUInt32BE(1) }, (_, i) => bytes.readUInt32BE(6 + 4 * i)),
      };
    case 0x4d: // M
      return decodeLogicalMessage(bytes);
    case 0x4f: // O
    case 0x59: // Y
      return { kind: 'other' };
    default:
      throw new PgoutputError(`unknown message type ${printable(bytes[0])}`);
  }
}

function decodeUpdate(bytes: Buffer): PgMessage {
  const oid = bytes.readUInt32BE(1);
  const marker = bytes.readUInt8(5);
  if (marker === 0x4e) return { kind: 'update', oid, old: 'none', oldAt: 0, newAt: 6 };
  if (marker !== 0x4f) expectByte(bytes, 5, 0x4b);
  const end = skipTuple(bytes, 6);
  expectByte(bytes, end, 0x4e);
  return { kind: 'update', oid, old: marker === 0x4f ? 'full' : 'key', oldAt: 6, newAt: end + 1 };
}

function decodeRelation(bytes: Buffer): PgMessage {
  const cursor = { at: 5 };
  // The namespace is empty for pg_catalog.
  const schema = readText(bytes, cursor) || 'pg_catalog';
  const table = readText(bytes, cursor);
  const count = bytes.readUInt16BE(cursor.at + 1);
  cursor.at += 3;
  const columns: RelationColumn[] = [];
  for (let i = 0; i < count; i++) {
    const identity = (bytes.readUInt8(cursor.at) & 1) === 1;
    cursor.at += 1;
    columns.push({ identity, name: readText(bytes, cursor) });
    cursor.at += 8; // type and type modifier
  }
  if (cursor.at > bytes.length) throw new PgoutputError('a relation message ends early');
  return { kind: 'relation', oid: bytes.readUInt32BE(1), schema, table, columns };
}

function decodeLogicalMessage(bytes: Buffer): PgMessage {
  const cursor = { at: 10 };
  const prefix = readText(bytes, cursor);
  const length = bytes.readUInt32BE(cursor.at);
  const content = bytes.subarray(cursor.at + 4, cursor.at + 4 + length);
  if (content.length !== length) throw new PgoutputError('a logical message ends early');
  return {
    kind: 'message',
    transactional: (bytes.readUInt8(1) & 1) === 1,
    lsn: lsnFromBigInt(bytes.readBigUInt64BE(2)),
    prefix,
    content,
  };
}

/** A value of more bytes cannot be part of any key or tag; it is not materialised but counts as unknown. */
export const MAX_VALUE_BYTES = 8192;

/**
 * Reads the wanted columns of a tuple into `cells`. `places[i]` is the place in `cells` of the tuple's column i, or -1.
 * Columns that the tuple does not have keep what `cells` held. Returns the bytes of text that were read.
 */
export function readTuple(bytes: Buffer, at: number, places: readonly number[], cells: CellValue[]): number {
  const count = bytes.readUInt16BE(at);
  let textBytes = 0;
  at += 2;
  for (let i = 0; i < count; i++) {
    const place = places[i] ?? -1;
    const kind = bytes.readUInt8(at);
    at += 1;
    if (kind === 0x74 || kind === 0x62) {
      const length = bytes.readUInt32BE(at);
      at += 4;
      if (at + length > bytes.length) throw new PgoutputError('a tuple ends early');
      if (place >= 0) {
        // The binary format is never asked for.
        cells[place] = kind === 0x74 && length <= MAX_VALUE_BYTES ? readValue(bytes, at, at + length) : Cell.absent;
        textBytes += length;
      }
      at += length;
    } else if (place >= 0) {
      cells[place] = kind === 0x6e ? null : kind === 0x75 ? Cell.unchanged : unknownKind(kind);
    }
  }
  return textBytes;
}

function skipTuple(bytes: Buffer, at: number): number {
  const count = bytes.readUInt16BE(at);
  at += 2;
  for (let i = 0; i < count; i++) {
    const kind = bytes.readUInt8(at);
    at += kind === 0x74 || kind === 0x62 ? 5 + bytes.readUInt32BE(at + 1) : 1;
  }
  return at;
}

/**
 * A text value. Short ASCII, which most keys are, is read without a call into C++. A value that is no UTF-8 (a database
 * with encoding SQL_ASCII can hold it) would render as a key that nobody asked for, so it counts as unknown.
 */
function readValue(bytes: Buffer, start: number, end: number): CellValue {
  if (end - start <= 24) {
    let text = '';
    for (let i = start; i < end; i++) {
      const byte = bytes[i] as number;
      if (byte > 0x7f) return readUtf8(bytes, start, end);
      text += String.fromCharCode(byte);
    }
    return text;
  }
  return readUtf8(bytes, start, end);
}

function readUtf8(bytes: Buffer, start: number, end: number): CellValue {
  const text = bytes.toString('utf8', start, end);
  if (!text.includes('\uFFFD')) return text;
  return bytes.subarray(start, end).equals(Buffer.from(text)) ? text : Cell.absent;
}

function readText(bytes: Buffer, cursor: { at: number }): string {
  const end = bytes.indexOf(0, cursor.at);
  if (end < 0) throw new PgoutputError('a name without an end');
  const text = bytes.toString('utf8', cursor.at, end);
  cursor.at = end + 1;
  return text;
}

function expectByte(bytes: Buffer, at: number, expected: number): true {
  const found = bytes.readUInt8(at);
  if (found !== expected)
    throw new PgoutputError(`found ${printable(found)} at ${at}, expected ${printable(expected)}`);
  return true;
}

function unknownKind(kind: number): never {
  throw new PgoutputError(`unknown kind of column value ${printable(kind)}`);
}

function printable(byte: number | undefined): string {
  return byte === undefined
    ? 'nothing'
    : byte > 0x20 && byte < 0x7f
      ? `"${String.fromCharCode(byte)}"`
      : `0x${byte.toString(16)}`;
}
