import { expect, test } from 'vitest';
import { draw, type Paint, type Part, type Picture, plainLine, summaryLines } from './view.ts';

const plain: Paint = (_, text) => text;

function part(name: string, state: Part['state'] = 'up', note = ''): Part {
  return { name, state, note };
}

const picture: Picture = {
  elapsedMs: 83_000,
  perSecond: { reads: { l1: 1860, l2: 40, postgres: 100 }, writes: 39.6 },
  evicted: { count: 160, p50Ms: 2.14, p99Ms: 5.93, maxMs: 8 },
  lags: [
    { name: 'sidecar-0', lagMs: 3 },
    { name: 'sidecar-1', lagMs: undefined },
  ],
  checked: 81_233,
  stale: 0,
  parts: [
    part('Postgres'),
    part('Kafka', 'down'),
    part('Redis'),
    part('invalidator'),
    part('applier'),
    part('sidecar-0', 'up', 'live, L2 up'),
    part('sidecar-1', 'waiting', 'stalled, L2 up'),
  ],
  events: Array.from({ length: 12 }, (_, at) => ({ clock: '08:12:31', text: `event ${at}` })),
};

test('the view shows the figures, the parts and the newest events', () => {
  const lines = draw(picture, { columns: 80, rows: 24 }, plain);
  expect(lines).toMatchInlineSnapshot(`
    [
      "Tidemark demo: a shop behind two sidecars                                   1:23",
      "",
      "reads       2,000/s        writes  40/s",
      "served by   L1 93.0%       L2 2.0%        miss 5.0%",
      "            ███████████████████████████████████████████████████████████████▓░░░",
      "evicted     p50 2.1 ms     p99 5.9 ms     after the commit (last 10 s, 160 seen)",
      "watermark   sidecar-0 3.0 ms      sidecar-1 -           behind",
      "stale reads 0              among 81,233 values from the caches, all checked",
      "",
      "● Postgres   ○ Kafka down   ● Redis   ● invalidator   ● applier",
      "● sidecar-0 (live, L2 up)   ○ sidecar-1 waiting (stalled, L2 up)",
      "",
      "08:12:31  event 4",
      "08:12:31  event 5",
      "08:12:31  event 6",
      "08:12:31  event 7",
      "08:12:31  event 8",
      "08:12:31  event 9",
      "08:12:31  event 10",
      "08:12:31  event 11",
      "",
      "kill: r Redis  k Kafka  i invalidator   p pause a sidecar   f FLUSHALL   q quit",
    ]
  `);
});

test('no line is wider than the screen or than 80 columns, and no picture higher than the screen', () => {
  for (const columns of [1, 12, 20, 79, 80, 200]) {
    for (const rows of [1, 5, 16, 24, 60]) {
      const lines = draw(picture, { columns, rows }, plain);
      expect(lines.length).toBeLessThanOrEqual(rows);
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(Math.min(columns, 80));
    }
  }
});

test('colours change nothing but the colour', () => {
  const coloured = draw(picture, { columns: 80, rows: 24 }, (style, text) => `<${style}>${text}</>`);
  expect(coloured.map((line) => line.replaceAll(/<[^>]*>/g, '').trimEnd())).toEqual(
    draw(picture, { columns: 80, rows: 24 }, plain),
  );
});

test('before anything was read there is a picture too', () => {
  const nothing = { reads: { l1: 0, l2: 0, postgres: 0 }, writes: 0 };
  const lines = draw(
    { ...picture, perSecond: nothing, evicted: undefined, events: [] },
    { columns: 80, rows: 24 },
    plain,
  );
  expect(lines.join('\n')).toContain('p50 -');
  expect(lines.join('\n')).not.toContain('NaN');
});

test('a plain line tells the same figures', () => {
  expect(plainLine(picture)).toMatchInlineSnapshot(
    `"  1:23  reads 2,000/s  L1 93.0%  L2 2.0%  miss 5.0%  writes 40/s  evicted p50 2.1 ms p99 5.9 ms  lag 3.0 ms  stale reads: 0  Kafka down  sidecar-1 waiting"`,
  );
});

test('the summary tells each stale read', () => {
  const lines = summaryLines({
    elapsedMs: 5_000,
    totals: { reads: { l1: 9_000, l2: 500, postgres: 500 }, writes: 200 },
    evicted: picture.evicted,
    evictedInTrouble: undefined,
    checked: 9_500,
    stale: 1,
    staleReads: ['sidecar-0 served product/1'],
  });
  expect(lines).toMatchInlineSnapshot(`
    [
      "ran for      0:05",
      "reads        10,000 (L1 9,000, L2 500, miss 500; hit ratio 95.0%)",
      "writes       200",
      "evicted      p50 2.1 ms, p99 5.9 ms, max 8.0 ms (160 seen) after the commit",
      "checked      9,500 values that the caches served",
      "stale reads: 1",
      "  sidecar-0 served product/1",
    ]
  `);
});
