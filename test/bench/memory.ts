import { setTimeout as pause } from 'node:timers/promises';
import { startLoad } from './support/load.ts';
import { fillKeys, pathOf, startBenchSidecar } from './support/sidecar.ts';

/*
 * What a sidecar occupies: idle, with a full L1 of 64 MiB of 1 KB values, while it serves hits, and while every fill
 * displaces another entry. Resident memory as its metrics tell it.
 *
 *   node test/bench/memory.ts
 */

const BYTES = 1024;
const MAX_BYTES = 64 * 1024 * 1024;

const sidecar = await startBenchSidecar();
const mb = async (): Promise<string> =>
  `${((await sidecar.metric('tidemark_process_resident_memory_bytes')) / 1e6).toFixed(0)} MB`;
const figures: Record<string, string> = {};

await pause(3000);
figures['idle'] = await mb();
let filled = 0;
while ((await sidecar.metric('tidemark_evictions_total{namespace="user",cause="room"}')) === 0) {
  await fillKeys(sidecar.port, { from: filled, to: filled + 2000, bytes: BYTES });
  filled += 2000;
}
const entries = await sidecar.metric('tidemark_l1_entries{namespace="user"}');
const counted = await sidecar.metric('tidemark_l1_bytes{namespace="user"}');
await pause(3000);
figures['full'] = await mb();
figures['entries'] = `${entries}, counted as ${(counted / MAX_BYTES).toFixed(3)} of 64 MiB`;

const newest = Array.from({ length: 1000 }, (_, n) =>
  Buffer.from(`GET ${pathOf(filled - 1 - n)} HTTP/1.1\r\nHost: x\r\n\r\n`),
);
const load = startLoad({ port: sidecar.port, connections: 32, requests: newest });
await pause(10_000);
figures['full, serving hits'] = await mb();
load.stop();

await fillKeys(sidecar.port, { from: filled, to: filled + 40_000, bytes: BYTES });
figures['full, after 40,000 displacing fills'] = await mb();
await pause(10_000);
figures['full, 10 s later'] = await mb();
for (const [name, value] of Object.entries(figures)) console.log(`${name.padEnd(38)}${value}`);
await sidecar.stop();
