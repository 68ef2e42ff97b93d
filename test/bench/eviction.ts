import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { L1_POLICIES } from '@tidemark/proto';
import { hitPercent, keysOf } from '../../sidecar/src/testing/hit-ratio.ts';
import { asLines, CAPACITIES, TRACES, type Trace } from '../../sidecar/src/testing/traces.ts';
import { cached } from '../kit/cache.ts';
import { hasMaven, javaVersion } from '../kit/maven.ts';
import { scratchFolder } from '../kit/scratch.ts';
import { installSimulator, PEERS, recordedTrace, simulate, VERSIONS, type Figures } from './eviction/caffeine.ts';
import { hitCosts } from './eviction/costs.ts';

/*
 * Hit ratios of L1's policies beside those of Caffeine and its simulator (from Maven, 175 MB once), on the same traces with the same
 * room; then what a hit costs, beside a bare Map and without anything between.
 *
 *   node test/bench/eviction.ts [--write]     --write: keep the simulator's figures for the tests
 */

const FIGURES = fileURLToPath(new URL('../../sidecar/src/testing/caffeine.json', import.meta.url));

/** They come with the simulator: a join and two scans of Postgres, a text search, a file system, objects of a shop, of a web site, of a ledger. */
const RECORDED: readonly (readonly [name: string, maxEntries: number])[] = [
  ['lirs:multi3.trace.gz', 1_000],
  ['lirs:gli.trace.gz', 1_000],
  ['lirs:sprite.trace.gz', 600],
  ['cache2k:orm-busy.trace.xz', 1_000],
  ['cache2k:web07.trace.xz', 1_000],
  ['corda:trace_vaultservice.gz', 500],
];
const MOST_RECORDED = 500_000;

const java = javaVersion();
if (java === undefined || java.major < 17 || !hasMaven())
  throw new Error(
    `found ${java?.line ?? 'no Java'}, expected Java 17 or newer and Maven: Caffeine's simulator needs them`,
  );
const classPath = await installSimulator();
const scratch = scratchFolder('eviction');
const ratios: number[] = [];

function row(name: string, cells: readonly (number | string)[]): void {
  const shown = cells.map((cell) => (typeof cell === 'number' ? cell.toFixed(2) : cell).padStart(9));
  console.log(`${name.padEnd(22)}${shown.join('')}`);
}

function compare(name: string, options: { trace: Trace; file: string; maxEntries: number }): Figures {
  const { trace, file, maxEntries } = options;
  const keys = keysOf(trace);
  const ours = L1_POLICIES.map((policy) => hitPercent(policy, keys, maxEntries));
  const theirs = simulate(classPath, file, maxEntries);
  const lfu = ours[L1_POLICIES.indexOf('lfu')] as number;
  const ratio = lfu / theirs['product.Caffeine'];
  ratios.push(ratio);
  row(`${name}/${maxEntries}`, [...ours, ...PEERS.map((peer) => theirs[peer]), ratio]);
  return theirs;
}

row('trace/entries', [...L1_POLICIES, ...PEERS.map((peer) => peer.replace(/^.*\./, '').slice(0, 8)), 'lfu/Caff.']);
const kept: Record<string, { sha256: string; percent: Record<string, Figures> }> = {};
for (const [name, generate] of Object.entries(TRACES)) {
  const trace = generate();
  const lines = asLines(trace);
  const sha256 = createHash('sha256').update(lines).digest('hex');
  const folder = await cached(`eviction-trace-${sha256.slice(0, 16)}`, (draft) =>
    Promise.resolve(writeFileSync(join(draft, 'trace'), lines)),
  );
  const percent: Record<string, Figures> = {};
  for (const maxEntries of CAPACITIES)
    percent[maxEntries] = compare(name, { trace, file: join(folder, 'trace'), maxEntries });
  kept[name] = { sha256, percent };
}
for (const [name, maxEntries] of RECORDED) {
  const trace = recordedTrace(classPath, name, { folder: scratch.path, most: MOST_RECORDED });
  const file = join(scratch.path, 'trace');
  writeFileSync(file, asLines(trace));
  compare(name.replace(/^.*:|\.trace.*$|\.gz$/g, ''), { trace, file, maxEntries });
}
await scratch.remove();
const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
console.log(`lfu / Caffeine ${VERSIONS.caffeine}: least ${Math.min(...ratios).toFixed(3)}, mean ${mean.toFixed(3)}`);

const figures = `${JSON.stringify({ ...VERSIONS, traces: kept }, null, 2)}\n`;
if (process.argv.includes('--write')) writeFileSync(FIGURES, figures);
else if (readFileSync(FIGURES, 'utf8') !== figures)
  console.log('These figures are not those that the tests compare with; --write keeps them.');

console.log(
  '\nCPU of a hit, ns, with 35,000 entries: least and median of 60 rounds, each subject in a process of its own',
);
for (const { subject, leastNs, medianNs } of hitCosts(['map', ...L1_POLICIES])) row(subject, [leastNs, medianNs]);
