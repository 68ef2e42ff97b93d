import type { Namespace } from './namespace.ts';
import type { WarmOrder } from './warm-job.ts';
import type { HotList, KeySource, NoKeys } from './warm-ports.ts';

/** The keys that are to be warmed, or why there are none. Never rejects. */
export async function keysOf(
  from: { readonly hotList: HotList | undefined; readonly keySource: KeySource | undefined },
  namespace: Namespace,
  { what, by, keys = [], most }: WarmOrder,
): Promise<readonly string[] | NoKeys> {
  if (what === 'keys') return keys;
  const { hotList, keySource } = from;
  const sql = namespace.config.warm?.sql;
  if (what === 'hot') {
    const scope = namespace.rules ?? namespace.name;
    const hot =
      hotList === undefined ? { failed: 'there is no Redis to keep a list in' } : await hotList.read(scope, most);
    // The first pod of all finds no list.
    const isNone = 'failed' in hot || hot.length === 0;
    if (by !== 'start' || !isNone || sql === undefined) return hot;
  }
  if (sql === undefined) return { failed: 'the namespace has no warm.sql' };
  return keySource?.keys(sql, most) ?? { failed: 'this sidecar has no TIDEMARK_LOAD_URL to ask for keys' };
}
