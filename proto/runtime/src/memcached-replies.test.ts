import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemcachedProtocolError, MemcachedReplies, type MemcachedReply } from './memcached-replies.ts';

const MAX_VALUE_BYTES = 4096;

/** The replies in what was sent, and the error that ended it. */
function read(chunks: readonly Buffer[]): { replies: MemcachedReply[]; error: unknown } {
  const replies: MemcachedReply[] = [];
  const reader = new MemcachedReplies({ maxValueBytes: MAX_VALUE_BYTES, onReply: (reply) => void replies.push(reply) });
  try {
    for (const chunk of chunks) reader.push(chunk);
    return { replies, error: undefined };
  } catch (error) {
    return { replies, error };
  }
}

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [...new Set(at.map((place) => place % (bytes.length + 1)))].toSorted((a, b) => a - b);
  return [0, ...places].map((from, i) => bytes.subarray(from, places[i] ?? bytes.length));
}

const lines = ['STORED', 'NOT_STORED', 'EXISTS', 'NOT_FOUND', 'DELETED', 'VERSION 1.6.18'] as const;
const reply: fc.Arbitrary<MemcachedReply> = fc.oneof(
  fc.constantFrom(...lines).map((text) => ({ kind: 'line', text }) as const),
  fc.constant({ kind: 'nothing' } as const),
  fc
    .constantFrom('SERVER_ERROR out of memory')
    .map((text) => ({ kind: 'failed', message: JSON.stringify(text) }) as const),
  fc
    .record({ key: fc.stringMatching(/^[!-~]{1,250}$/), bytes: fc.integer({ min: MAX_VALUE_BYTES + 1, max: 9_000 }) })
    .map((value) => ({ kind: 'too-large', ...value }) as const),
  fc
    .record({
      key: fc.stringMatching(/^[!-~]{1,250}$/),
      cas: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String),
      value: fc.uint8Array({ maxLength: MAX_VALUE_BYTES }).map((bytes) => Buffer.from(bytes)),
    })
    .map((value) => ({ kind: 'value', ...value }) as const),
);

function sent(one: MemcachedReply): Buffer {
  switch (one.kind) {
    case 'line':
      return Buffer.from(`${one.text}\r\n`);
    case 'nothing':
      return Buffer.from('END\r\n');
    case 'failed':
      return Buffer.from(`${JSON.parse(one.message) as string}\r\n`);
    case 'too-large':
      return Buffer.from(`VALUE ${one.key} 0 ${one.bytes} 1\r\n${'x'.repeat(one.bytes)}\r\nEND\r\n`);
    case 'value':
      return Buffer.concat([
        Buffer.from(`VALUE ${one.key} 0 ${one.value.length} ${one.cas}\r\n`, 'latin1'),
        one.value,
        Buffer.from('\r\nEND\r\n'),
      ]);
  }
}

describe('replies of memcached', () => {
  it('are read the same however the network cuts them', () => {
    fc.assert(
      fc.property(fc.array(reply, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 12 }), (replies, places) => {
        const { replies: found, error } = read(cut(Buffer.concat(replies.map(sent)), places));
        expect(error).toBeUndefined();
        expect(found).toEqual(replies);
      }),
    );
  });

  it('that are garbage end the connection, or are replies; nothing is thrown but what says so, and little is kept', () => {
    const vocabulary = fc.oneof(
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      fc
        .constantFrom(
          'VALUE ',
          'a 0 3 7\r\n',
          'abc\r\n',
          'END\r\n',
          'END',
          '\r\n',
          '\n',
          'ERROR\r\n',
          'STORED\r\n',
          '0 99999 1\r\n',
        )
        .map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(fc.array(vocabulary, { maxLength: 30 }), (chunks) => {
        const { error } = read(chunks);
        expect(error === undefined || error instanceof MemcachedProtocolError).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ['a value without a CAS', 'VALUE a 0 1\r\nx\r\nEND\r\n'],
    ['a value that is longer than it says', 'VALUE a 0 1 1\r\nxyz\r\nEND\r\n'],
    ['two values', 'VALUE a 0 1 1\r\nx\r\nVALUE b 0 1 1\r\nx\r\nEND\r\n'],
    ['an error in the middle', 'VALUE a 0 1 1\r\nx\r\nSERVER_ERROR out of memory\r\n'],
    ['a command that it does not know', 'ERROR\r\n'],
    ['a command that it does not understand', 'CLIENT_ERROR bad data chunk\r\n'],
    ['a line without CR', 'STORED\n'],
    ['a line without an end', 'x'.repeat(2_000)],
  ])('%s: nobody knows what comes next', (_, text) => {
    expect(read([Buffer.from(text)]).error).toBeInstanceOf(MemcachedProtocolError);
  });
});
