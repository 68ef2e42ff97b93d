import type { L1Policy } from '@tidemark/proto';
import { createPolicy } from '../adapters/l1/policies.ts';
import { MemoryStore } from '../adapters/l1/store.ts';
import { anEntry } from './entries.ts';
import { Dice } from './random.ts';
import type { Trace } from './traces.ts';

/** The TTLs differ at random by as much as the usual jitter, so that `ttl` has something to go by. */
const TTL = { leastMs: 1_620_000, jitterMs: 180_000 };
const MS_BETWEEN_REQUESTS = 10;

const EMPTY = new Uint8Array(0);

/** All of one length, so that a limit by entries is one by bytes too. */
export function keysOf(trace: Trace): readonly string[] {
  return trace.map((number) => String(number).padStart(8, '0'));
}

/** The part of requests, in percent, that L1 answers when it holds so many entries and whatever is missing is filled at once. */
export function hitPercent(policy: L1Policy, keys: readonly string[], maxEntries: number): number {
  const dice = new Dice(7);
  const fraction = (): number => dice.fraction();
  const store = new MemoryStore({ maxBytes: Infinity, maxEntries, policy: createPolicy(policy, fraction) });
  let hits = 0;
  keys.forEach((key, request) => {
    if (store.get(key) === undefined) {
      const expiresAtMs = request * MS_BETWEEN_REQUESTS + TTL.leastMs + TTL.jitterMs * fraction();
      store.set(key, anEntry({ expiresAtMs, body: EMPTY }));
    } else hits += 1;
  });
  return (100 * hits) / keys.length;
}
