import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { get } from 'node:http';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { quantile, startLoad } from './support/load.ts';
import { fillKeys, page, pathOf, startBenchSidecar } from './support/sidecar.ts';

/*
 * What a hit costs: CPU microseconds a request of a sidecar that follows a real Kafka, and of a bare node:http handler
 * that answers the same bytes, in turn on the same machine. The ratio is what counts; the rest depends on the machine.
 *
 *   node test/bench/hit-path.ts [rounds] [seconds a round] [bytes a value]
 */

const [rounds = 5, seconds = 4, bytes = 1024] = process.argv.slice(2).map(Number);
const KEYS = 1000;
const CONNECTIONS = 32;
const WARM_UP_MS = 1500;

interface Subject {
  readonly name: string;
  readonly port: number;
  readonly cpuUs: () => Promise<number>;
}

interface Measured {
  readonly cpuUs: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

async function measure(subject: Subject): Promise<Measured> {
  const requests = Array.from({ length: KEYS }, (_, n) =>
    Buffer.from(
      `GET ${pathOf(n)} HTTP/1.1\r\nHost: 127.0.0.1:${subject.port}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n`,
    ),
  );
  const onStatus = (status: number): void => {
    if (status !== 200) throw new Error(`${subject.name} answered ${status}`);
  };
  const load = startLoad({ port: subject.port, connections: CONNECTIONS, requests, onStatus });
  await pause(WARM_UP_MS);
  const cpuBefore = await subject.cpuUs();
  const [countBefore, startedAt] = [load.count(), performance.now()];
  load.takeTimings();
  await pause(seconds * 1000);
  const timings = load.takeTimings();
  const count = load.count() - countBefore;
  const perSecond = (count / (performance.now() - startedAt)) * 1000;
  const cpuUs = ((await subject.cpuUs()) - cpuBefore) / count;
  load.stop();
  return { cpuUs, perSecond, p50Ms: quantile(timings, 0.5), p99Ms: quantile(timings, 0.99) };
}

/** The headers of a hit, without those that Node adds by itself. */
function headersOfHit(port: number): Promise<Record<string, string>> {
  return new Promise((resolve, reject) => {
    get({ port, host: '127.0.0.1', path: pathOf(0) }, (answer) => {
      answer.resume();
      const headers: Record<string, string> = {};
      for (let i = 0; i < answer.rawHeaders.length; i += 2)
        headers[answer.rawHeaders[i] as string] = answer.rawHeaders[i + 1] as string;
      for (const name of ['Date', 'Connection', 'Keep-Alive']) delete headers[name];
      answer.on('end', () => resolve(headers));
    }).on('error', reject);
  });
}

const sidecar = await startBenchSidecar();
await fillKeys(sidecar.port, { from: 0, to: KEYS, bytes });
const bareScript = fileURLToPath(new URL('support/bare-server.ts', import.meta.url));
const bare = spawn(
  process.execPath,
  [
    '--disable-warning=ExperimentalWarning',
    bareScript,
    JSON.stringify(await headersOfHit(sidecar.port)),
    String(bytes),
  ],
  {
    stdio: ['ignore', 'pipe', 'inherit'],
  },
);
const [line] = (await once(createInterface({ input: bare.stdout }), 'line')) as [string];
const barePort = Number(line);
const subjects: readonly Subject[] = [
  { name: 'bare node:http', port: barePort, cpuUs: async () => Number(await page(barePort, '/cpu')) },
  {
    name: 'sidecar hit',
    port: sidecar.port,
    cpuUs: async () => (await sidecar.metric('tidemark_process_cpu_seconds_total')) * 1e6,
  },
];
const results = new Map<string, Measured[]>(subjects.map(({ name }) => [name, []]));
for (let round = 1; round <= rounds; round++) {
  for (const subject of subjects) {
    const measured = await measure(subject);
    results.get(subject.name)?.push(measured);
    const { cpuUs, perSecond, p50Ms, p99Ms } = measured;
    console.log(
      `${round}. ${subject.name.padEnd(15)} ${cpuUs.toFixed(2)} us CPU/request, ${perSecond.toFixed(0)}/s, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms`,
    );
  }
}
const cpuOf = (name: string): number[] => (results.get(name) ?? []).map(({ cpuUs }) => cpuUs);
const [bareUs, hitUs] = [cpuOf('bare node:http'), cpuOf('sidecar hit')];
// The median of the rounds is what was seen; the least disturbed rounds are what a quiet machine might show. They differ
// where others use the machine, so neither is told without the other.
console.log(
  JSON.stringify({
    bytes,
    rounds,
    median: { bareUs: quantile(bareUs, 0.5), hitUs: quantile(hitUs, 0.5) },
    medianOfRoundRatios: quantile(
      hitUs.map((us, i) => us / (bareUs[i] as number)),
      0.5,
    ),
    least: { bareUs: Math.min(...bareUs), hitUs: Math.min(...hitUs), ratio: Math.min(...hitUs) / Math.min(...bareUs) },
  }),
);
bare.kill();
await sidecar.stop();
