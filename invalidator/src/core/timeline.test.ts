import { formatLsn } from '@tidemark/proto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseTimelineHistory, type TimelineEnd } from './timeline.ts';

/** As writeTimeLineHistory() in timeline.c: the parent's file, a line break, and the new line. */
function fileOf(ends: readonly TimelineEnd[], reason: string): string {
  return ends
    .map(({ timeline, end }, i) => `${i === 0 ? '' : '\n'}${timeline}\t${formatLsn(end)}\t${reason}\n`)
    .join('');
}

/** Reasons as Postgres writes them: words, and names of restore points. */
const reason = fc.string({ unit: 'binary', maxLength: 63 }).filter((text) => !text.includes('\n'));

const history = fc
  .array(fc.record({ step: fc.integer({ min: 1, max: 5 }), wal: fc.integer({ min: 0, max: 2 ** 45 }) }), {
    minLength: 1,
    maxLength: 8,
  })
  .map((steps) => {
    let [timeline, end] = [0, 0];
    return steps.map(({ step, wal }): TimelineEnd => {
      timeline += step;
      end += wal;
      return { timeline, end };
    });
  });

describe('a timeline history file', () => {
  it('of any chain of promotions reads as what Postgres wrote', () => {
    fc.assert(
      fc.property(history, reason, fc.integer({ min: 1, max: 9 }), (ends, why, step) => {
        const timeline = (ends.at(-1)?.timeline ?? 0) + step;
        expect(parseTimelineHistory(fileOf(ends, why), timeline)).toEqual(ends);
      }),
    );
  });

  it('with comments, blank lines and spaces before a line is read as Postgres reads it', () => {
    const text = '# by hand\n\n  1\t0/3000148\tno recovery target specified\n#2\t0/0\n 3\t1/A\tbefore 2026-01-01\r\n';
    expect(parseTimelineHistory(text, 4)).toEqual([
      { timeline: 1, end: 0x3000148 },
      { timeline: 3, end: 2 ** 32 + 10 },
    ]);
  });

  it.each<[string, string]>([
    ['is empty', ''],
    ['holds comments only', '# 1\t0/1\tx\n'],
    ['has a line without a position', '1\tx\n'],
    ['has a line that ends in the position’s middle', '1\t0/\n'],
    ['has spaces for tabs', '1 0/1 x\n'],
    ['goes back to an older timeline', '2\t0/1\tx\n1\t0/2\tx\n'],
    ['names a timeline twice', '1\t0/1\tx\n1\t0/2\tx\n'],
    ['goes back in the WAL', '1\t0/2\tx\n2\t0/1\tx\n'],
    ['is that of a later timeline', '1\t0/1\tx\n5\t0/2\tx\n'],
    ['names its own timeline', '1\t0/1\tx\n4\t0/2\tx\n'],
    ['counts beyond what is exact', '1\tFFFFFFFF/0\tx\n'],
  ])('that %s is unknown history', (_what, text) => {
    expect(parseTimelineHistory(text, 4)).toEqual({ unknown: expect.any(String) as string });
  });

  it('of whatever bytes is read or unknown, never an exception, and what was read ascends', () => {
    const bytes = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc
        .array(fc.constantFrom('1', '2', '3', '\t', '0/1', '0/2', '/', '\n', '#', ' '), { maxLength: 20 })
        .map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(bytes, (text) => {
        const found = parseTimelineHistory(text, 4);
        if ('unknown' in found) return;
        let before: TimelineEnd = { timeline: 0, end: 0 };
        for (const entry of found) {
          expect(entry.timeline).toBeGreaterThan(before.timeline);
          expect(entry.end).toBeGreaterThanOrEqual(before.end);
          before = entry;
        }
        expect(before.timeline).toBeLessThan(4);
      }),
    );
  });
});
