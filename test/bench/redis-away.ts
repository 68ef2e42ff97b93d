import { setTimeout as pause } from 'node:timers/promises';
import { startRedis } from '../kit/index.ts';
import { quantile, startLoad, type Load } from './support/load.ts';
import { fillKeys, pathOf, startBenchSidecar } from './support/sidecar.ts';

/*
 * What hits of L1 feel while Redis is silent (its process stands still) and while it is gone (nobody listens), against
 * the same load while it is there, in turn in the same run. Some callers read missing keys all the time, so that the
 * sidecar does ask Redis.
 *
 *   node test/bench/redis-away.ts [rounds] [seconds a round]
 */

const [rounds = 3, seconds = 5] = process.argv.slice(2).map(Number);
const KEYS = 1000;
/** More than are asked for while a lease lives: a second caller would wait for the first one's fill, which never comes. */
const MISSING_KEYS = 300_000;
const DEADLINE_MS = 50;
/** Enough to be heard, too few to be busy: with a full queue p99 would tell of the queue. */
const HIT_CONNECTIONS = 4;
/** So that they ask as often while Redis is away, when their answers come sooner. */
const MISS_CONNECTIONS = 8;
const MISS_THINK_MS = 8;
const SETTLE_MS = 1000;

const redis = await startRedis();
const sidecar = await startBenchSidecar({ TIDEMARK_REDIS_URL: redis.url, TIDEMARK_REDIS_DEADLINE: `${DEADLINE_MS}ms` });
await fillKeys(sidecar.port, { from: 0, to: KEYS, bytes: 1024 });

const requestsFor = (from: number, count: number): Buffer[] =>
  Array.from({ length: count }, (_, n) => Buffer.from(`GET ${pathOf(from + n)} HTTP/1.1\r\nHost: x\r\n\r\n`));
const expectStatus =
  (expected: number) =>
  (status: number): void => {
    if (status !== expected) throw new Error(`the sidecar answered ${status}, expected ${expected}`);
  };
const hits = (): Load =>
  startLoad({
    port: sidecar.port,
    connections: HIT_CONNECTIONS,
    requests: requestsFor(0, KEYS),
    onStatus: expectStatus(200),
  });
const misses = (): Load =>
  startLoad({
    port: sidecar.port,
    connections: MISS_CONNECTIONS,
    thinkMs: MISS_THINK_MS,
    requests: requestsFor(KEYS, MISSING_KEYS),
    onStatus: expectStatus(404),
  });

const kill = async (): Promise<void> => {
  redis.hold();
  await redis.kill('SIGKILL');
};
const conditions: readonly {
  readonly name: string;
  begin: () => void | Promise<void>;
  end: () => void | Promise<void>;
}[] = [
  { name: 'there', begin: () => undefined, end: () => undefined },
  { name: 'silent', begin: () => redis.pause(), end: () => redis.resume() },
  { name: 'gone', begin: kill, end: () => redis.release() },
];
const p99s = new Map<string, number[]>(conditions.map(({ name }) => [name, []]));
for (let round = 1; round <= rounds; round++) {
  for (const { name, begin, end } of conditions) {
    await begin();
    const [hitting, missing] = [hits(), misses()];
    await pause(name === 'there' ? SETTLE_MS : 0);
    hitting.takeTimings();
    await pause(seconds * 1000);
    const [hitTimes, missTimes] = [hitting.takeTimings(), missing.takeTimings()];
    hitting.stop();
    missing.stop();
    await end();
    await pause(SETTLE_MS);
    const p99 = quantile(hitTimes, 0.99);
    p99s.get(name)?.push(p99);
    console.log(
      `${round}. Redis ${name.padEnd(6)} hits p50 ${quantile(hitTimes, 0.5).toFixed(2)} p99 ${p99.toFixed(2)} p99.9 ${quantile(hitTimes, 0.999).toFixed(2)} ms of ${hitTimes.length}; ` +
        `misses p50 ${quantile(missTimes, 0.5).toFixed(2)} longest ${Math.max(...missTimes).toFixed(1)} ms of ${missTimes.length}`,
    );
  }
}
const median = (name: string): number => quantile(p99s.get(name) ?? [], 0.5);
console.log(
  JSON.stringify({
    p99Ms: Object.fromEntries([...p99s.keys()].map((name) => [name, median(name)])),
    ratio: { silent: median('silent') / median('there'), gone: median('gone') / median('there') },
  }),
);
await sidecar.stop();
await redis.stop();
