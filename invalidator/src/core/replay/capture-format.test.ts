import { crc32 } from '@tidemark/proto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CAPTURE_MAGIC,
  CaptureError,
  CaptureParser,
  encodeFrame,
  type CaptureFrame,
  type CaptureHeader,
} from './capture-format.ts';

const header: CaptureHeader = {
  source: 'main',
  topic: 't',
  range: { from: { kind: 'any' }, to: { kind: 'open' } },
  ...{ asked: { from: 'earliest', to: 'latest' }, fromOffset: 0, endOffset: 9, newestEpoch: 1, capturedAtMs: 5 },
};
const records = fc.array(
  fc.record({
    kind: fc.constant('record' as const),
    record: fc.record({
      offset: fc.maxSafeNat(),
      timestampMs: fc.maxSafeNat(),
      value: fc.uint8Array({ maxLength: 40 }),
    }),
  }),
  { maxLength: 6 },
);
const captures = records.map((list): CaptureFrame[] => [
  { kind: 'header', header },
  ...list,
  { kind: 'end', end: { records: list.length } },
]);

function bytesOf(frames: readonly CaptureFrame[]): Uint8Array {
  return Uint8Array.from([CAPTURE_MAGIC, ...frames.map((frame) => encodeFrame(frame, crc32))].flatMap((b) => [...b]));
}

/** The frames of a capture that comes in pieces, and what stopped them. */
function parsed(bytes: Uint8Array, cuts: readonly number[] = []) {
  const parser = new CaptureParser(crc32);
  const frames: CaptureFrame[] = [];
  let error: unknown;
  const places = [...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  try {
    let at = 0;
    for (const place of places) {
      for (const frame of parser.push(bytes.slice(at, place))) frames.push(frame);
      at = place;
    }
  } catch (thrown) {
    error = thrown;
  }
  return { frames, error, parser };
}

const plain = (frames: readonly CaptureFrame[]): unknown => JSON.parse(JSON.stringify(frames));

describe('a capture', () => {
  it('reads as it was written, in whatever pieces it comes', () => {
    fc.assert(
      fc.property(captures, fc.array(fc.nat(), { maxLength: 10 }), (frames, cuts) => {
        const { frames: found, error, parser } = parsed(bytesOf(frames), cuts);
        expect(error).toBeUndefined();
        expect(plain(found)).toEqual(plain(frames));
        expect(parser.hasEnd).toBe(true);
      }),
    );
  });

  it('that is cut off reads up to its last whole frame, and is not taken for finished', () => {
    fc.assert(
      fc.property(captures, fc.nat(), (frames, at) => {
        const bytes = bytesOf(frames);
        const { frames: found, error, parser } = parsed(bytes.subarray(0, at % bytes.length));
        expect(error).toBeUndefined();
        expect(parser.hasEnd).toBe(false);
        expect(plain(found)).toEqual(plain(frames.slice(0, found.length)));
        if (found.length > 0) expect(parsed(bytes.subarray(0, parser.soundBytes)).frames).toHaveLength(found.length);
      }),
    );
  });

  it('with any bit flipped never reads as another one', () => {
    fc.assert(
      fc.property(captures, fc.nat(), fc.nat(7), (frames, at, bit) => {
        const bytes = bytesOf(frames);
        const place = at % bytes.length;
        bytes[place] = (bytes[place] as number) ^ (1 << bit);
        const { frames: found, error, parser } = parsed(bytes);
        expect(error instanceof CaptureError || !parser.hasEnd).toBe(true);
        expect(plain(found)).toEqual(plain(frames.slice(0, found.length)));
      }),
      { numRuns: 500 },
    );
  });

  it('of another version, or something else, is told apart', () => {
    const other = new TextEncoder();
    expect(parsed(other.encode('TMCAP2\r\n.........')).error).toMatchObject({ message: /another version/ });
    expect(parsed(other.encode('{"hello": "world"}')).error).toMatchObject({ message: /no capture/ });
  });
});
