import { enableCompileCache, flushCompileCache } from 'node:module';
import { PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/*
 * A sidecar stands beside every pod, so what it occupies while it does nothing counts as often. Resident when idle, by
 * test/bench/memory.ts with Node 26.10: from the sources 150 MB as it comes, 116 without the garbage of loading it, 93 with
 * a warm compile cache (what it holds is without types already, so the WebAssembly module that strips them is never
 * loaded). As one bundle with warm bytecode it is 79: Node keeps the text of each module, and of its bytecode. Full and
 * busy, 50 MB less than with V8's own bound on the young generation.
 */

/** Larger saves no CPU that could be measured; at 1 MiB a hit costs 5 % more. */
const MAX_YOUNG_BYTES = 6 * 1024 * 1024;

/** To be called before anything large is imported. */
export function beginSmall(): void {
  // Coverage is inexact for code from the cache.
  if (process.env['NODE_V8_COVERAGE'] === undefined) enableCompileCache();
  boundYoungGeneration();
}

/** To be called once, when everything is loaded and nobody waits yet: takes about 0.1 s. */
export function dropGarbage(): void {
  flushCompileCache();
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: object) => void;
  // Also gives back pages that hold nothing any more.
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

/** V8 lets it grow to 48 MB at the first burst of requests. Its bound can be set only at the start, its growth at any time. */
function boundYoungGeneration(): void {
  let mayGrow = true;
  const observer = new PerformanceObserver(() => {
    const size = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')?.space_size ?? 0;
    const grows = size < MAX_YOUNG_BYTES;
    if (grows === mayGrow) return;
    mayGrow = grows;
    setFlagsFromString(`--semi-space-growth-factor=${grows ? 2 : 1}`);
  });
  observer.observe({ entryTypes: ['gc'] });
}
