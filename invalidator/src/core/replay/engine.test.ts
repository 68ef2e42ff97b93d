import { decodeBatch } from '@tidemark/proto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Replay, type ReplayRecord, type ReplayState } from './engine.ts';
import { comparePositions, type Range, type StreamPosition } from './range.ts';
import { searchPosition, type Probe } from './search.ts';
import { build, rules, Told, type Built, type Step } from './testing/stream.ts';

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.record({ kind: fc.constant('publish' as const), commits: fc.nat(3) }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('replaced' as const), commits: fc.integer({ min: 1, max: 3 }) }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('repeat' as const), back: fc.nat(4) }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'gap' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'epoch' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'garbage' as const }) },
  ),
  { minLength: 1, maxLength: 40 },
);

const everything: Range = { from: { kind: 'any' }, to: { kind: 'open' } };

function replayed(records: readonly ReplayRecord[], range: Range): Told {
  const told = new Told();
  const replay = new Replay({ rules, range, output: told });
  for (const record of records) if (!replay.take(record)) break;
  return told;
}

/** A position that is in the stream, or near one that is. */
const places = fc.record({ place: fc.nat(1000), shift: fc.integer({ min: -3, max: 3 }) });
type Place = typeof places extends fc.Arbitrary<infer T> ? T : never;
function positionAt({ records }: Built, { place, shift }: Place): StreamPosition {
  const spans = records.flatMap(({ value }) => spanOf(value));
  const span = spans[place % spans.length] as { epoch: number; to: number };
  return { epoch: span.epoch, lsn: Math.max(0, span.to + shift) };
}

function spanOf(value: Uint8Array): { epoch: number; from: number; to: number }[] {
  try {
    const decoded = decodeBatch(value);
    return [decoded.kind === 'batch' ? decoded.batch : decoded.span];
  } catch {
    return [];
  }
}

function rangeOf(from: StreamPosition, to: StreamPosition): Range {
  return { from: { kind: 'position', ...from }, to: { kind: 'position', ...to } };
}

/** Changes of the range that were told neither by name nor by a fall of their namespace at or behind them. */
function missing({ truth }: Built, told: Told, from: StreamPosition, to: StreamPosition): unknown[] {
  return truth
    .filter((change) => comparePositions(change, from) >= 0 && comparePositions(change, to) <= 0)
    .filter(
      ({ epoch, lsn, id }) =>
        !told.keys.some((key) => key.id === id && key.lsn === lsn) &&
        !told.falls.some((fall) => fall.epoch === epoch && fall.lsn >= lsn),
    );
}

describe('a replay', () => {
  it('[I1] tells each change of its range, or that all may have changed, whatever gaps, repeats and epochs are among them', () => {
    fc.assert(
      fc.property(steps, places, places, (list, a, b) => {
        const built = build(list);
        const [from, to] = [positionAt(built, a), positionAt(built, b)].toSorted(comparePositions) as [
          StreamPosition,
          StreamPosition,
        ];
        const told = replayed(built.records, rangeOf(from, to));
        // A change that is lost where an epoch ends can only show in the next one.
        const seen = { ...built, truth: built.truth.filter((change) => !isLostAtEnd(built, change)) };
        expect(missing(seen, told, from, to)).toEqual([]);
        for (const key of told.keys) {
          expect(comparePositions(key, from)).toBeGreaterThanOrEqual(0);
          expect(comparePositions(key, to)).toBeLessThanOrEqual(0);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('tells nothing twice', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const { lines } = replayed(build(list).records, everything);
        expect(new Set(lines).size).toBe(lines.length);
      }),
      { numRuns: 300 },
    );
  });

  it('that goes on elsewhere tells, with what came before, what one run tells', () => {
    fc.assert(
      fc.property(steps, places, places, fc.array(fc.nat(60), { maxLength: 4 }), (list, a, b, cuts) => {
        const built = build(list);
        const [from, to] = [positionAt(built, a), positionAt(built, b)].toSorted(comparePositions) as [
          StreamPosition,
          StreamPosition,
        ];
        const range = rangeOf(from, to);
        const told = new Told();
        let state: ReplayState | undefined;
        let counts: unknown;
        for (const cut of [...cuts.toSorted((x, y) => x - y), 1000]) {
          const replay = new Replay({ rules, range, output: told, ...(state?.isInside && { resume: state }) });
          // All of it comes again, as from a capture; a topic is read from nextOffset on.
          const before = state?.isInside === true ? told.lines.length : (told.lines.length = 0);
          expect(before).toBe(told.lines.length);
          for (const record of built.records.slice(0, cut)) if (!replay.take(record)) break;
          state = JSON.parse(JSON.stringify(replay.state)) as ReplayState;
          ({ counts } = state);
        }
        const whole = new Told();
        const replay = new Replay({ rules, range, output: whole });
        for (const record of built.records) if (!replay.take(record)) break;
        expect(told.lines).toEqual(whole.lines);
        expect(counts).toEqual(replay.state.counts);
      }),
      { numRuns: 300 },
    );
  });
});

describe('the search for a position', () => {
  const probeOf =
    (records: readonly ReplayRecord[]) =>
    async (offset: number): Promise<Probe | undefined> => {
      const record = records[offset];
      return record && { offset, span: spanOf(record.value)[0] };
    };

  it('[I1] begins where no change is missed, as near as the chain allows', async () => {
    await fc.assert(
      fc.asyncProperty(steps, places, async (list, a) => {
        const built = build(list);
        const from = positionAt(built, a);
        const bounds = { earliest: 0, next: built.records.length };
        const offset = await searchPosition(from, bounds, probeOf(built.records));
        const to = { epoch: 1000, lsn: 0 };
        const told = replayed(built.records.slice(offset), {
          from: { kind: 'position', ...from },
          to: { kind: 'open' },
        });
        expect(missing(built, told, from, to)).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('asks for few records', async () => {
    const { records } = build(Array.from({ length: 5000 }, () => ({ kind: 'publish', commits: 1 })));
    let asked = 0;
    const probe = probeOf(records);
    const counting = (offset: number): Promise<Probe | undefined> => {
      asked += 1;
      return probe(offset);
    };
    const wanted = { epoch: 1, lsn: 100 + 3 * 3000 };
    const found = await searchPosition(wanted, { earliest: 0, next: records.length }, counting);
    expect(found).toBe(3000);
    expect(asked).toBeLessThan(20);
  });
});

function isLostAtEnd({ records }: Built, change: StreamPosition): boolean {
  const ends = records.flatMap(({ value }) => spanOf(value)).filter(({ epoch }) => epoch === change.epoch);
  return ends.every(({ to }) => to < change.lsn);
}
