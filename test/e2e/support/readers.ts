import { setTimeout as pause } from 'node:timers/promises';
import type { Replica } from './application.ts';
import type { World } from './world.ts';

const betweenReadsMs = 10;
const betweenWritesMs = 25;
/** So many of each reader, so that on any machine some of them can be hits. */
const readsBetweenWrites = 4;

/** Readers beside a writer: what they found wrong, and how much they saw. */
export interface Reading {
  /** Reads answered from a cache, and in all. */
  readonly counts: () => { readonly hits: number; readonly reads: number };
  /** Ends it; answers each answer that was older than one before it through the same sidecar. */
  stop(): Promise<string[]>;
}

/**
 * Commits ever higher prices of one product and reads it through each sidecar, as an application does. Whatever happens to
 * the release, what one sidecar answers must never go back: that is the promise of the project. A sidecar that is away is
 * no fault; the application then asks Postgres.
 */
export function readOn(world: World, replicas: readonly Replica[], namespace: string, id: number): Reading {
  const wrong: string[] = [];
  const over = new AbortController();
  let [hits, reads] = [0, 0];
  const load = async (): Promise<string> => {
    const [row] = await world.sql<{ price: number }>('select price from products where id = $1', [id]);
    return `${row?.price}`;
  };
  const until = async (everyMs: number, work: () => Promise<void>): Promise<void> => {
    while (!over.signal.aborted) {
      await work();
      await pause(everyMs);
    }
  };
  const readsSince = replicas.map(() => 0);
  const writer = until(betweenWritesMs, async () => {
    if (readsSince.some((count) => count < readsBetweenWrites)) return;
    readsSince.fill(0);
    await world.sql('update products set price = price + 1 where id = $1', [id]);
  });
  const readers = replicas.map(({ pod, app }, reader) => {
    let newest = 0;
    return until(betweenReadsMs, async () => {
      const found = await app.get(namespace, `${id}`).catch(() => undefined);
      const isHit = found?.status === 200;
      const value = isHit ? found.body : await load();
      if (!isHit && found?.lease !== undefined) {
        await app.put(namespace, `${id}`, value, { lease: found.lease }).catch(() => undefined);
      }
      reads += 1;
      readsSince[reader] = (readsSince[reader] ?? 0) + 1;
      if (isHit) hits += 1;
      if (Number(value) < newest) wrong.push(`${pod.metadata?.name} answered ${value} after ${newest}`);
      newest = Math.max(newest, Number(value));
    });
  });
  return {
    counts: () => ({ hits, reads }),
    stop: async () => {
      over.abort();
      await Promise.all([writer, ...readers]);
      return wrong;
    },
  };
}
