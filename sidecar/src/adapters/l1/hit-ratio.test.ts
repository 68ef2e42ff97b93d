import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { hitPercent, keysOf } from '../../testing/hit-ratio.ts';
import { asLines, CAPACITIES, TRACES } from '../../testing/traces.ts';

/** What Caffeine's simulator said of the same traces: `npm run bench -- eviction`, with `--write` to keep it. */
const { traces } = JSON.parse(readFileSync(new URL('../../testing/caffeine.json', import.meta.url), 'utf8')) as {
  traces: Record<string, { sha256: string; percent: Record<string, Record<string, number>> }>;
};

describe.each(Object.entries(TRACES))('on the trace %s', (name, generate) => {
  const trace = generate();
  const keys = keysOf(trace);
  const known = traces[name];

  it('the figures to compare with are of this trace', () => {
    expect(createHash('sha256').update(asLines(trace)).digest('hex')).toBe(known?.sha256);
  });

  it.each(CAPACITIES)(
    'with room for %i entries lru finds what theirs does, and lfu hardly less than Caffeine',
    (maxEntries) => {
      const theirs = known?.percent[maxEntries] ?? {};
      // What is the same algorithm finds the same, to the last request.
      expect(hitPercent('lru', keys, maxEntries)).toBeCloseTo(theirs['linked.Lru'] as number, 1);
      // W-TinyLFU decides by chance here and there, and looks for the size of its window.
      const lfu = hitPercent('lfu', keys, maxEntries);
      expect(lfu).toBeGreaterThan(0.95 * (theirs['product.Caffeine'] as number));
      expect(lfu).toBeLessThan((theirs['opt.Clairvoyant'] as number) + 0.01);
    },
  );
});

it.each([
  ['fifo', 'linked.Fifo', 0.01],
  ['random', 'sampled.Random', 0.5],
] as const)('%s finds what theirs does', (policy, theirs, byPercent) => {
  const [maxEntries] = CAPACITIES;
  const keys = keysOf(TRACES['zipf']?.() ?? []);
  const known = traces['zipf']?.percent[maxEntries]?.[theirs] as number;
  expect(Math.abs(hitPercent(policy, keys, maxEntries) - known)).toBeLessThan(byPercent);
});
