import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodePendingWrite,
  encodePendingWrite,
  formatFlushedMark,
  FLUSHED_MARK_WORD,
  MAX_WRITES_TOPIC_CHARS,
  parseFlushedMark,
  type PendingWrite,
} from './pending-write.ts';
import { isMark } from './mark.ts';

const write: PendingWrite = {
  namespace: 'items',
  key: 'item:1',
  kind: 'put',
  contentType: 'text/plain',
  tags: ['a'],
  atMs: 1,
  body: new TextEncoder().encode('one\ntwo'),
};

const writes: fc.Arbitrary<PendingWrite> = fc.record({
  namespace: fc.constantFrom('items', 'a.b-c'),
  key: fc.string({ minLength: 1, unit: 'grapheme' }),
  kind: fc.constantFrom('put', 'delete'),
  contentType: fc.string(),
  tags: fc.array(fc.string({ unit: 'grapheme' }), { maxLength: 3 }),
  atMs: fc.nat(),
  body: fc.uint8Array(),
});

describe('a write in its topic', () => {
  it('[I19] is read as it was written', () => {
    fc.assert(
      fc.property(writes, (given) => {
        const decoded = decodePendingWrite(encodePendingWrite(given));
        expect(decoded).toMatchObject({ kind: 'write', write: { ...given, body: expect.anything() } });
        expect(decoded.kind === 'write' && Buffer.from(decoded.write.body)).toEqual(Buffer.from(given.body));
      }),
    );
  });

  it('[I19] that was cut or changed in one byte of its body is no write', () => {
    const record = encodePendingWrite(write);
    for (let end = 0; end < record.length; end++)
      expect(decodePendingWrite(record.subarray(0, end)).kind).toBe('unreadable');
    const changed = record.slice();
    changed[record.length - 1] = 0;
    expect(decodePendingWrite(changed).kind).toBe('unreadable');
  });

  it('[I19] that says a time which no date can have is no write', () => {
    const at = (atMs: number) => decodePendingWrite(encodePendingWrite({ ...write, atMs })).kind;
    expect(at(Date.UTC(9999, 11, 31))).toBe('write');
    expect(at(Date.UTC(10_000, 0, 1))).toBe('unreadable');
    expect(at(Number.MAX_SAFE_INTEGER)).toBe('unreadable');
  });

  it('of a later version is told apart from garbage', () => {
    const later = (version: unknown) => new TextEncoder().encode(`${JSON.stringify({ version })}\n`);
    expect(decodePendingWrite(later(2))).toEqual({ kind: 'too-new', version: 2 });
    for (const version of [0, '2', null, 1.5, 1]) expect(decodePendingWrite(later(version)).kind).toBe('unreadable');
    for (const text of ['', '\n', 'null\n', '[]\n', '{', '7\n'])
      expect(decodePendingWrite(new TextEncoder().encode(text)).kind).toBe('unreadable');
  });

  it('has a head that its readers read, or is refused', () => {
    expect(() => encodePendingWrite({ ...write, key: 'k'.repeat(70_000) })).toThrow(/at most 65536/);
  });
});

describe('the mark of a flush', () => {
  it('is read by those of its topic only', () => {
    const rest = (text: string) => text.slice(FLUSHED_MARK_WORD.length + 1);
    const text = formatFlushedMark('writes', 17);
    expect(parseFlushedMark('writes', rest(text))).toBe(17);
    expect(parseFlushedMark('write', rest(text))).toBeUndefined();
    for (const bad of [
      'writes:1:17',
      'writes:0:',
      'writes:0:-1',
      'writes:0:1e3',
      'writes:0:99999999999999999',
      'writes',
    ])
      expect(parseFlushedMark('writes', bad)).toBeUndefined();
  });

  it('fits a mark, however long the topic is called', () => {
    expect(isMark(formatFlushedMark('t'.repeat(MAX_WRITES_TOPIC_CHARS), Number.MAX_SAFE_INTEGER))).toBe(true);
  });
});
