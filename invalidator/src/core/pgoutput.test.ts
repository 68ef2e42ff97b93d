import { Cell, type CellValue } from '@tidemark/proto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeMessage, MAX_VALUE_BYTES, PgoutputError, readTuple, type PgMessage } from './pgoutput.ts';
import * as wire from './testing/wire.ts';
import type { WireCell } from './testing/wire.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

function tupleAt(bytes: Buffer, at: number, places: readonly number[], width = places.length): CellValue[] {
  const cells: CellValue[] = Array.from({ length: width }, () => Cell.absent);
  readTuple(bytes, at, places, cells);
  return cells;
}

// Recorded from Postgres 18.4, proto_version 1 with messages.
describe('messages as Postgres sends them', () => {
  it.each<[string, string, PgMessage]>([
    [
      'begin',
      '42 0000000001811738 000303c4237e1b27 00000302',
      { kind: 'begin', xid: 0x302, committedAtUs: 1795250674072359 },
    ],
    [
      'commit',
      '43 00 0000000001811738 0000000001811768 000303c4237e1b27',
      { kind: 'commit', start: 0x1811738, end: 0x1811768 },
    ],
    [
      'relation, REPLICA IDENTITY DEFAULT',
      '52 00004010 7075626c696300 6700 64 0003 01696400 00000017ffffffff 004e616d6500 00000019ffffffff 00626f647900 00000019ffffffff',
      {
        kind: 'relation',
        oid: 0x4010,
        schema: 'public',
        table: 'g',
        columns: [
          { name: 'id', identity: true },
          { name: 'Name', identity: false },
          { name: 'body', identity: false },
        ],
      },
    ],
    [
      'relation, REPLICA IDENTITY FULL: every column is flagged',
      '52 00004018 7075626c696300 673200 66 0002 01696400 00000017ffffffff 017600 00000019ffffffff',
      {
        kind: 'relation',
        oid: 0x4018,
        schema: 'public',
        table: 'g2',
        columns: [
          { name: 'id', identity: true },
          { name: 'v', identity: true },
        ],
      },
    ],
    ['insert', '49 00004018 4e 0002 74 00000001 37 6e', { kind: 'insert', oid: 0x4018, newAt: 6 }],
    [
      'update without an old row',
      '55 00004010 4e 0003 74 00000001 31 6e 75',
      { kind: 'update', oid: 0x4010, old: 'none', oldAt: 0, newAt: 6 },
    ],
    [
      'update of the key',
      '55 00004010 4b 0003 74 00000001 31 6e 6e 4e 0003 74 00000001 32 6e 75',
      { kind: 'update', oid: 0x4010, old: 'key', oldAt: 6, newAt: 17 },
    ],
    [
      'update, REPLICA IDENTITY FULL',
      '55 00004018 4f 0002 74 00000001 37 6e 4e 0002 74 00000001 37 74 00000001 77',
      { kind: 'update', oid: 0x4018, old: 'full', oldAt: 6, newAt: 16 },
    ],
    [
      'delete by key',
      '44 00004010 4b 0003 74 00000001 32 6e 6e',
      { kind: 'delete', oid: 0x4010, old: 'key', oldAt: 6 },
    ],
    [
      'delete, REPLICA IDENTITY FULL',
      '44 00004018 4f 0002 74 00000001 37 74 00000001 77',
      { kind: 'delete', oid: 0x4018, old: 'full', oldAt: 6 },
    ],
    [
      'truncate of two tables, cascading',
      '54 00000002 03 00004010 00004018',
      { kind: 'truncate', oids: [0x4010, 0x4018] },
    ],
    [
      'message outside of the transaction',
      '4d 00 00000000018171a8 6f7468657200 00000001 78',
      { kind: 'message', transactional: false, lsn: 0x18171a8, prefix: 'other', content: Buffer.from('x') },
    ],
    [
      'message of a transaction',
      '4d 01 0000000001817168 746964656d61726b00 00000007 7b2261223a317d',
      { kind: 'message', transactional: true, lsn: 0x1817168, prefix: 'tidemark', content: Buffer.from('{"a":1}') },
    ],
    ['type', '59 00004020 7075626c696300 6d6f6f6400', { kind: 'other' }],
    ['origin', '4f 0000000001817168 6f00', { kind: 'other' }],
  ])('%s', (_name, bytes, expected) => {
    expect(decodeMessage(hex(bytes))).toEqual(expected);
  });

  it('reads the cells of a row: text, null and unchanged TOAST', () => {
    const bytes = hex('55 00004010 4e 0003 74 00000001 31 6e 75');
    expect(tupleAt(bytes, 6, [0, 1, 2])).toEqual(['1', null, Cell.unchanged]);
  });

  it('reads only the wanted columns, in the wanted order', () => {
    const bytes = wire.insert(1, [{ text: 'a' }, { text: 'b' }, 'null', { text: 'd' }]);
    expect(tupleAt(bytes, 6, [-1, 1, -1, 0], 2)).toEqual(['d', 'b']);
  });

  it('leaves a wanted column unknown that the row does not have', () => {
    expect(tupleAt(wire.insert(1, [{ text: 'a' }]), 6, [0], 2)).toEqual(['a', Cell.absent]);
  });
});

describe('values', () => {
  it('that are longer than any key are not materialised', () => {
    const text = 'x'.repeat(MAX_VALUE_BYTES + 1);
    expect(tupleAt(wire.insert(1, [{ text }, { text: text.slice(1) }]), 6, [0, 1])).toEqual([
      Cell.absent,
      text.slice(1),
    ]);
  });

  it('that are no UTF-8 are unknown, but a replacement character that was sent is itself', () => {
    const raw = Buffer.from([0x66, 0xff, 0x6f]);
    const long = Buffer.concat([Buffer.alloc(40, 0x61), raw]);
    expect(tupleAt(wire.insert(1, [{ raw }, { raw: long }, { text: 'a\uFFFDb' }]), 6, [0, 1, 2])).toEqual([
      Cell.absent,
      Cell.absent,
      'a\uFFFDb',
    ]);
  });
});

const cell: fc.Arbitrary<WireCell> = fc.oneof(
  fc.constantFrom<WireCell>('null', 'unchanged'),
  fc.string({ unit: 'binary', maxLength: 60 }).map((text) => ({ text: text.toWellFormed() })),
);
const row = fc.array(cell, { maxLength: 8 });
const understood = (wanted: WireCell): CellValue =>
  wanted === 'null' ? null : wanted === 'unchanged' ? Cell.unchanged : 'text' in wanted ? wanted.text : Cell.absent;

describe('generated messages', () => {
  it('give back every row that was put in, wherever it lies in the message', () => {
    fc.assert(
      fc.property(row, row, fc.constantFrom('K' as const, 'O' as const), (before, after, kind) => {
        const places = (cells: readonly unknown[]): number[] => cells.map((_, i) => i);
        const message = decodeMessage(wire.update(7, after, { kind, row: before }));
        if (message.kind !== 'update') throw new Error(message.kind);
        const bytes = wire.update(7, after, { kind, row: before });
        expect(message.old).toBe(kind === 'K' ? 'key' : 'full');
        expect(tupleAt(bytes, message.oldAt, places(before))).toEqual(before.map(understood));
        expect(tupleAt(bytes, message.newAt, places(after))).toEqual(after.map(understood));
      }),
    );
  });

  it('that are cut off anywhere, or are garbage, are refused and never read beyond their end', () => {
    const whole = fc.oneof(
      row.map((cells) => wire.insert(7, cells)),
      row.map((cells) => wire.remove(7, { kind: 'K', row: cells })),
      fc.string().map((content) => wire.message({ transactional: true, lsn: 5, prefix: 'p', content })),
      fc.array(fc.nat(9), { maxLength: 4 }).map((oids) => wire.truncate(oids)),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(whole, fc.nat(), (bytes, cut) => {
        const short = bytes.subarray(0, cut % (bytes.length + 1));
        try {
          const message = decodeMessage(short);
          if ('newAt' in message) tupleAt(short, message.newAt, [0, 1, 2, 3, 4, 5, 6, 7]);
        } catch (error) {
          expect(error instanceof PgoutputError || error instanceof RangeError).toBe(true);
        }
      }),
    );
  });

  it('of an unknown type are refused', () => {
    expect(() => decodeMessage(Buffer.from('S'))).toThrow('unknown message type "S"');
    expect(() => decodeMessage(Buffer.alloc(0))).toThrow(PgoutputError);
  });
});
