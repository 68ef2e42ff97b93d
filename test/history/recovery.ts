import { setTimeout as wait } from 'node:timers/promises';
import type { SeenRow } from './checker.ts';
import type { Database } from './database.ts';
import type { Thing } from './thing.ts';
import type { Pod, Workload } from './workload.ts';
import { docs, probeItem } from './world.ts';

const everyMs = 20;

interface Options {
  readonly pods: readonly [Pod, ...Pod[]];
  readonly database: Database;
  readonly workload: Workload;
  readonly signal: AbortSignal;
}

/**
 * Settles when everything works: a change reaches every sidecar, the first one may be filled again, and the others get
 * what it was filled with from Redis. Rejects with what does not work where that takes longer than `withinMs`.
 */
export async function recovered(options: Options, withinMs: number): Promise<void> {
  const { pods, workload, database, signal } = options;
  const [first, ...others] = pods;
  const thing = workload.item(probeItem);
  const endMs = performance.now() + withinMs;
  let complaint = 'Postgres takes no write';
  while (!signal.aborted) {
    const written = await workload.commit(() => database.change([probeItem]));
    const row = written?.rows[0];
    if (row !== undefined) {
      const filled = await servedAt(first, thing, { ...options, row, endMs });
      complaint = `${first.name} does not serve a row that was changed`;
      if (filled !== undefined) {
        const layers = await Promise.all(others.map((pod) => servedAt(pod, thing, { ...options, row, endMs })));
        const missing = others.find((_, index) => layers[index] !== 'l2');
        if (missing === undefined) return;
        complaint = `${missing.name} does not get from Redis what ${first.name} was filled with`;
      }
    }
    if (performance.now() > endMs) throw new Error(`${complaint}, ${withinMs / 1000} s after the end of all faults`);
    await wait(everyMs);
  }
}

/**
 * From where a sidecar serves a row as it was written or newer, as soon as it does; undefined where it does not in time. A promotion
 * may have undone the same version before: whoever serves that one has not heard of the promotion yet.
 */
async function servedAt(
  pod: Pod,
  thing: Thing,
  options: Options & { readonly row: SeenRow; readonly endMs: number },
): Promise<'l1' | 'l2' | undefined> {
  const { workload, row, endMs, signal } = options;
  while (!signal.aborted && performance.now() < endMs) {
    const cached = await workload.readThrough(pod, thing);
    if (cached.kind === 'hit' && thing.rowsOf(cached.value).some((shown) => isAtLeast(shown, row))) return cached.layer;
    await wait(everyMs);
  }
  return undefined;
}

function isAtLeast(shown: SeenRow, written: SeenRow): boolean {
  return shown.version >= written.version && (shown.timeline ?? 1) >= (written.timeline ?? 1);
}

/** Nobody writes any more: settles when every sidecar serves everything as it stands in Postgres. Rejects with the key that it does not. */
export async function refreshed(options: Options, withinMs: number): Promise<void> {
  const { pods, workload, database } = options;
  const endMs = performance.now() + withinMs;
  // Of a document whose purge was never acknowledged nothing is promised.
  for (let id = 1; id <= docs; id += 1)
    while ((await workload.purge(id)) === undefined) await inTime(endMs, `docs/${id} cannot be purged`);
  const rows = await database.all();
  for (const pod of pods) {
    for (const thing of workload.things) {
      for (;;) {
        const cached = await workload.readThrough(pod, thing);
        const isCurrent =
          cached.kind === 'hit' &&
          thing.rowsOf(cached.value).every(({ row, version }) => version === (rows.get(row)?.version ?? 0));
        if (isCurrent) break;
        await inTime(endMs, `${pod.name} does not serve ${thing.namespace}/${thing.key} as it stands in Postgres`);
      }
    }
  }
}

async function inTime(endMs: number, complaint: string): Promise<void> {
  if (performance.now() > endMs) throw new Error(`${complaint}, although nobody writes any more`);
  await wait(everyMs);
}
