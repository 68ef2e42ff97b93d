import { parseConfig, rulesOfSource } from '@tidemark/proto';
import type { KeySpec } from '../parts/keys.ts';

/* Two rows, each with a key, and a list of both: what the simulations of sessions and of snapshots read and change. */

/** Who waits for another sidecar is not served soon enough to be of interest here. */
const l2 = { lease: false };

const parsed = parseConfig({
  sources: { main: { topic: 't' } },
  namespaces: {
    byid: { source: 'main', l2, invalidate: [{ table: 'public.rows', keys: ['{id}'] }] },
    lists: { source: 'main', l2, invalidate: [{ table: 'public.rows', tags: ['row:{id}'] }] },
  },
});
if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
export const { config } = parsed;
export const rules = rulesOfSource(config, 'main');
export const rows = ['a', 'b'];
export const keys: readonly KeySpec[] = [
  { namespace: 'byid', key: 'a', rows: ['a'], tags: [] },
  { namespace: 'byid', key: 'b', rows: ['b'], tags: [] },
  { namespace: 'lists', key: 'both', rows, tags: ['row:a', 'row:b'] },
];
