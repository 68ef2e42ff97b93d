import { setTimeout as wait } from 'node:timers/promises';
import type { Product, Shop } from './app.ts';
import type { Checker } from '../../test/history/checker.ts';
import type { Load, Pod } from './load.ts';

/** The row in shop.sql that nobody else reads or writes. */
const probeId = 0;
const key = `${probeId}`;
const betweenMs = 100;
/** Longer than any failure of the demo lasts. */
const giveUpMs = 60_000;

interface ProberOptions {
  readonly pods: readonly [Pod, ...Pod[]];
  readonly load: Load;
  readonly checker: Checker;
  /** Gets each measurement: how long a sidecar still served the old value after the commit was acknowledged, in ms. */
  readonly measured: (ms: number) => void;
}

/**
 * Measures commit to eviction as a client sees it: updates a row that every sidecar holds, then asks each of them, over
 * and over, until it no longer serves the old value.
 */
export async function probe(options: ProberOptions, signal: AbortSignal): Promise<void> {
  const { pods, load, measured } = options;
  while (!signal.aborted) {
    const holders: Pod[] = [];
    for (const pod of pods) if (await holds(pod)) holders.push(pod);
    if (holders.length > 0) {
      const written = await load.commit(() => pods[0].shop.restock(probeId));
      const version = written?.rows[0]?.version;
      if (written !== undefined && version !== undefined) {
        const committedAt = written.committedAtMs;
        const times = await Promise.all(
          holders.map((pod) => evictedAt(pod, version, { ...options, committedAt, signal })),
        );
        for (const at of times) if (at !== undefined) measured(Math.max(0, at - committedAt));
      }
    }
    await wait(betweenMs, undefined, { signal }).catch(() => undefined);
  }
}

/** Whether the sidecar serves the row from its memory; where not, it is asked to, for the next time. */
async function holds({ shop }: Pod): Promise<boolean> {
  for (let tries = 0; tries < 2; tries += 1) {
    const read = await shop.product(probeId).catch(() => undefined);
    if (read === undefined || read.from === 'l1') return read !== undefined;
  }
  return false;
}

async function fill(shop: Shop, lease: string): Promise<void> {
  await shop.cache.put('product', key, { value: await shop.loadProduct(probeId), lease, tags: [] });
}

/** When the sidecar was first seen not to serve an older version; undefined where it stopped to answer meanwhile. */
async function evictedAt(
  { name, shop }: Pod,
  version: number,
  options: ProberOptions & { readonly committedAt: number; readonly signal: AbortSignal },
): Promise<number | undefined> {
  const { checker, committedAt, signal } = options;
  while (!signal.aborted && performance.now() - committedAt < giveUpMs) {
    const cached = await shop.cache.get('product', key);
    const now = performance.now();
    if (cached.kind === 'unreachable' || cached.kind === 'unpromised') return undefined;
    if (cached.kind === 'miss') {
      // Who gets the lease owes the others a value: they would wait for it.
      if (cached.lease !== undefined) await fill(shop, cached.lease).catch(() => undefined);
      return now;
    }
    const served = cached.value as Product;
    checker.served({
      sidecar: name,
      key: `product/${key}`,
      lsn: cached.lsn,
      rows: [{ row: `products/${key}`, version: served.version }],
    });
    if (served.version >= version) return now;
    // At first as often as it goes; where it takes long, a twentieth of that time is exact enough.
    const elapsedMs = now - committedAt;
    if (elapsedMs > 20) await wait(Math.min(elapsedMs / 20, 50), undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}
