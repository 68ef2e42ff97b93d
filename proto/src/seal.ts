import { crc32 } from './crc32.ts';

/** Field 17 of Batch, wire type 5 (four bytes, little-endian). */
const TAG = [0x8d, 0x01] as const;
const SEAL_BYTES = TAG.length + 4;

/**
 * Appends the checksum field to an encoded record. Protobuf alone reads a record that was cut between two fields as a
 * shorter one, and kafkajs does not check the CRC of what brokers send: either would lose changes in silence.
 */
export function seal(body: Uint8Array): Uint8Array {
  const record = new Uint8Array(body.length + SEAL_BYTES);
  record.set(body);
  record.set(TAG, body.length);
  new DataView(record.buffer).setUint32(body.length + TAG.length, crc32(body), true);
  return record;
}

/** Throws a RangeError unless the record ends in the checksum of everything before it. O(bytes). */
export function checkSeal(record: Uint8Array): void {
  const end = record.length - SEAL_BYTES;
  const sealed = end >= 0 && record[end] === TAG[0] && record[end + 1] === TAG[1];
  if (!sealed) throw new RangeError('no batch: it does not end in a checksum');
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  if (view.getUint32(end + TAG.length, true) !== crc32(record, 0, end))
    throw new RangeError('no batch: its checksum does not fit');
}
