import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startStack } from '../kit/index.ts';
import { Changes, Origin, STAMPEDE_SQL } from '../integration/support/stampede.ts';
import { quantile } from './support/load.ts';
import type { Report } from './support/stampede-readers.ts';

/*
 * Loads of one hot key that changes every second and takes 20 ms to load, with three sidecars and many readers each, without
 * anything that holds stampedes back and with each thing that does.
 *
 *   node test/bench/stampede.ts [seconds] [readers a sidecar]
 */

const [seconds = 20, readersEach = 200] = process.argv.slice(2).map(Number);
const SIDECARS = 3;
/** Slow enough that the machine is not full with the readers themselves: the waits would tell of that. */
const THINK_MS = 500;
const PROCESSES = 2;
const LEAST_MS = 1;

const origin = await Origin.start();
const rule = { source: 'main', invalidate: [{ table: 'public.hot', keys: ['{id}'] }] };
const load = (namespace: string): object => ({
  http: { url: `${origin.url}/${namespace}/{key}`, connections: 256, retries: 0 },
});

interface Case {
  readonly name: string;
  readonly namespace: string;
  readonly waits: boolean;
}

const cases: readonly Case[] = [
  { name: 'callers load, nobody waits', namespace: 'aside-alone', waits: false },
  { name: 'callers load, waiting in their sidecar', namespace: 'aside-alone', waits: true },
  { name: 'callers load, waiting in the cluster', namespace: 'aside', waits: true },
  { name: 'loader, waiting in its sidecar', namespace: 'loaded-alone', waits: true },
  { name: 'loader, waiting in the cluster', namespace: 'loaded', waits: true },
  { name: 'loader, ahead of readers', namespace: 'ahead', waits: true },
];
const config = {
  namespaces: {
    'aside-alone': { ...rule, l2: { lease: false } },
    aside: rule,
    'loaded-alone': { ...rule, load: load('loaded-alone'), l2: { lease: false } },
    loaded: { ...rule, load: load('loaded') },
    ahead: { ...rule, load: load('ahead'), refresh: { ahead: 10 } },
  },
};

async function run({ name, namespace, waits }: Case): Promise<void> {
  const stack = await startStack({
    sidecars: SIDECARS,
    initSql: STAMPEDE_SQL,
    config,
    supervise: false,
    env: { sidecar: waits ? {} : { TIDEMARK_COALESCE_TIMEOUT: `${LEAST_MS}ms` } },
  });
  origin.connect(stack.postgres);
  const changes = await Changes.connect(stack.postgres);
  const children = Array.from({ length: PROCESSES }, () =>
    fork(join(import.meta.dirname, 'support/stampede-readers.ts'), [
      ...[origin.url, namespace, String(readersEach / PROCESSES), String(THINK_MS)],
      ...stack.sidecars.map(({ url }) => url),
    ]),
  );
  // Each reader has read a few times.
  await Promise.all(children.map((child) => once(child, 'message')));
  for (const child of children) child.send('forget');
  const [before, startMs] = [origin.loadsOf(namespace), performance.now()];
  for (let i = 0; i < seconds; i += 1) {
    await pause(Math.max(0, startMs + i * 1_000 - performance.now()));
    await changes.next();
  }
  await pause(Math.max(0, startMs + seconds * 1_000 - performance.now()));
  const [loads, tookS] = [origin.loadsOf(namespace) - before, (performance.now() - startMs) / 1_000];
  const reports = await Promise.all(
    children.map(async (child) => {
      const report = once(child, 'message');
      child.send('stop');
      return (await report)[0] as Report;
    }),
  );
  const timings = reports.flatMap((report) => report.timings);
  const stale = reports.flatMap((report) => changes.stale(report.seen)).length;
  const errors = reports.reduce((sum, report) => sum + report.errors, 0);
  const ms = (q: number): string => quantile(timings, q).toFixed(1);
  console.log(
    `${name.padEnd(40)} ${(loads / seconds).toFixed(2).padStart(7)} loads a change, ${(loads / tookS).toFixed(1).padStart(6)} a second; ` +
      `${(timings.length / tookS).toFixed(0)} reads/s, p50 ${ms(0.5)} p99 ${ms(0.99)} p99.9 ${ms(0.999)} longest ${ms(1)} ms; ${stale} stale, ${errors} errors`,
  );
  await changes.stop();
  await origin.disconnect();
  await stack.stop();
}

for (const each of cases) await run(each);
await origin.stop();
