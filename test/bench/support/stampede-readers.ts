import { Readers } from '../../integration/support/stampede.ts';

/* Readers in a process of their own: `node stampede-readers.ts ORIGIN NAMESPACE COUNT THINK_MS SIDECAR...`; tells on request. */

const [origin = '', namespace = '', count = '1', thinkMs = '1', ...sidecars] = process.argv.slice(2);
const readers = sidecars.map(
  (sidecar) => new Readers({ sidecar, origin, namespace, count: Number(count), thinkMs: Number(thinkMs) }),
);

/** What readers have seen since they began, or since they were told to forget it. */
export interface Report {
  readonly timings: readonly number[];
  readonly seen: readonly (readonly [lsn: number, n: number])[];
  readonly errors: number;
}

const warm = setInterval(() => {
  if (readers.some((each) => each.timings.length < 3 * Number(count))) return;
  clearInterval(warm);
  process.send?.('warm');
}, 100);

process.on('message', (message) => {
  if (message === 'forget') for (const each of readers) each.timings = [];
  else
    void Promise.all(readers.map((each) => each.stop())).then(() => {
      const report: Report = {
        timings: readers.flatMap((each) => each.timings),
        seen: readers.flatMap((each) => [...each.seen]),
        errors: readers.reduce((sum, each) => sum + each.errors, 0),
      };
      process.send?.(report, () => process.exit(0));
    });
});
