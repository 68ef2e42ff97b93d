import { Dice } from './random.ts';

/** Requests in the order in which they came: the numbers of the keys that were asked for. */
export type Trace = readonly number[];

const REQUESTS = 300_000;

/** Numbers from 0 to n - 1 of which the one at rank r comes in proportion to 1 / (r + 1)^exponent. */
function zipf(dice: Dice, n: number, exponent: number): () => number {
  const upTo = new Float64Array(n);
  let sum = 0;
  for (let rank = 0; rank < n; rank++) upTo[rank] = sum += (rank + 1) ** -exponent;
  return () => {
    const at = dice.fraction() * sum;
    let low = 0;
    let high = n - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((upTo[middle] as number) > at) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

function generate(next: (request: number) => number): Trace {
  return Array.from({ length: REQUESTS }, (_, request) => next(request));
}

/**
 * What caches meet, as four extremes. Seeded, so that every machine and every policy sees the same:
 * - `zipf`: few keys are asked for often and many seldom, as of users or products.
 * - `loop`: 3,000 keys one after the other, again and again, as jobs do that go through a table.
 * - `scan`: as `zipf`, but now and then somebody reads 5,000 keys once that nobody wants again.
 * - `shift`: which keys are hot is new after every 30,000 requests.
 */
export const TRACES: Readonly<Record<string, () => Trace>> = {
  zipf: () => {
    const next = zipf(new Dice(1), 50_000, 0.9);
    return generate(next);
  },
  loop: () => generate((request) => request % 3_000),
  scan: () => {
    const next = zipf(new Dice(2), 20_000, 0.9);
    let fresh = 1_000_000;
    return generate((request) => (request % 15_000 < 5_000 ? (fresh += 1) : next()));
  },
  shift: () => {
    const next = zipf(new Dice(3), 20_000, 1);
    return generate((request) => next() + 100_000 * Math.floor(request / 30_000));
  },
};

/** Entries that the cache may hold. */
export const CAPACITIES = [500, 2_000] as const;

/** The trace in the format of the LIRS authors, which simulators read: one number a line. */
export function asLines(trace: Trace): string {
  return `${trace.join('\n')}\n`;
}
