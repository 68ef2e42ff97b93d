import { afterAll, beforeAll, expect, it } from 'vitest';
import { sharedServers } from '../kit/shared.ts';
import { Lines } from './lines.ts';
import { run } from './run.ts';
import { startSurfaces, type Surfaces } from './surfaces.ts';

// A short run of what `npm run fuzz` does for as long as asked; a failure names the seed of its round.

const SEED = 20_261_121;
const REQUESTS = 3_000;
const lines = new Lines();
let surfaces: Surfaces;

beforeAll(async () => {
  surfaces = await startSurfaces({ servers: sharedServers(), onLine: lines.take });
});
afterAll(() => surfaces?.stop());

it('bad input ends no process, is answered as documented, stores nothing and is not logged at length', async () => {
  lines.begin();
  const report = await run(surfaces, { seed: SEED, isOver: (requests) => requests >= REQUESTS });
  expect(report.violations).toEqual([]);
  expect(lines.errors).toEqual([]);
  expect(lines.count).toBeLessThan(200);
  // What the run tried was not refused as a whole.
  expect(report.stored).toBeGreaterThan(20);
  expect(report.served).toBeGreaterThan(20);
  for (const [before, after] of Object.values(report.held)) {
    if (before === undefined || after === undefined) continue;
    expect(after.handles).toBeLessThan(before.handles + 20);
    expect(after.rssMiB).toBeLessThan(before.rssMiB + 200);
  }
});
