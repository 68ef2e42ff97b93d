import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { createKafka, createLogger, ensureConfigTopic, publishConfig } from '@tidemark/runtime';
import { parse } from 'yaml';
import { App } from '../integration/support/app.ts';
import { cacheable } from '../integration/support/stack.ts';
import { freePort, startKafka, startStack } from '../kit/index.ts';
import { withRedis } from '../kit/names.ts';
import { CountingProxy, kafkaRequests, type Passed, redisCommands } from './support/counting-proxy.ts';
import { costOf } from './support/process-cost.ts';
import { rowsRule, rowsSql, writeRows } from './support/row-writer.ts';

/*
 * What one sidecar costs Kafka and Redis, and itself: connections, requests and bytes, counted at proxies before both,
 * while nothing changes, while rows change, and for each kind of read. Counts do not depend on how busy the machine is.
 *
 *   node test/bench/sidecar-cost.ts [seconds a window]
 */

const [seconds = 15] = process.argv.slice(2).map(Number);
const READS = 1000;
const VALUE = 'x'.repeat(1024);

const kafkaPort = await freePort();
/** By default ten minutes: so that those which a sidecar needs at its start only are gone before the first window. */
const settings = { 'connections.max.idle.ms': '5000' };
const kafka = await startKafka({ proxies: [kafkaPort], settings });
const kafkaProxy = new CountingProxy({
  port: kafkaPort,
  target: () => kafka.behindProxies[0] ?? 0,
  framing: kafkaRequests,
});
const stack = await startStack({
  sidecars: 1,
  supervise: false,
  servers: { started: { kafka } },
  initSql: rowsSql,
  config: { namespaces: { user: rowsRule } },
});
const redisPort = await freePort();
const redisTarget = Number(new URL(stack.servers.redis.url).port);
const redisProxy = new CountingProxy({ port: redisPort, target: () => redisTarget, framing: redisCommands });
// As the chart sets it up: with its configuration from a topic.
const configTopic = `${stack.topic}.config`;
const logger = createLogger({ service: 'bench', instance: 'publisher', level: 'silent' });
const client = createKafka({ brokers: kafka.brokers, tls: false, clientId: 'bench', logger });
await ensureConfigTopic(client, configTopic);
const document: unknown = parse(readFileSync(stack.configFile, 'utf8'));
await publishConfig(client, { topic: configTopic, term: 1, revision: 1, document });
const env = {
  TIDEMARK_CONFIG: '',
  TIDEMARK_CONFIG_TOPIC: configTopic,
  TIDEMARK_KAFKA_BROKERS: `127.0.0.1:${kafkaPort}`,
  TIDEMARK_REDIS_URL: stack.redis.replace(`:${redisTarget}`, `:${redisPort}`),
};
let sidecar = await stack.addSidecar(env);
await cacheable(stack);
console.log(`at its start: ${kafkaProxy.passed.connections} connections to Kafka`);
await pause(8000);

/** What passed, and the sidecar's CPU time, over `work`, divided by what it answers. */
async function measure(name: string, unit: string, work: () => Promise<number>): Promise<void> {
  const before = { kafka: kafkaProxy.passed, redis: redisProxy.passed, cpuS: costOf(sidecar.pid).cpuS };
  const count = await work();
  const cost = costOf(sidecar.pid);
  const cpuMs = ((cost.cpuS - before.cpuS) * 1000) / count;
  console.log(
    [
      `${name}, each ${unit} of ${Math.round(count)}:`,
      `Kafka ${difference(before.kafka, kafkaProxy.passed, count)}`,
      `Redis ${difference(before.redis, redisProxy.passed, count)}`,
      `CPU ${cpuMs.toFixed(3)} ms, resident ${cost.residentMb.toFixed(0)} MB`,
    ].join('\n    '),
  );
}

function difference(before: Passed, after: Passed, count: number): string {
  const each = (value: number): string => (value / count).toFixed(2);
  const requests = [...after.requests].map(
    ([name, total]) => [name, total - (before.requests.get(name) ?? 0)] as const,
  );
  const told = requests.filter(([, number]) => number > 0).map(([name, number]) => `${each(number)} ${name}`);
  return [
    `${after.connections} connections`,
    `${each(after.toServer - before.toServer)} B there, ${each(after.toClient - before.toClient)} B back`,
    ...(told.length === 0 ? ['no request'] : told),
  ].join(', ');
}

await measure('idle', 'second', async () => {
  await pause(seconds * 1000);
  return seconds;
});
async function measureCommits(note: string, { perSecond, rows }: { perSecond: number; rows: number }): Promise<void> {
  await measure(`${perSecond} commits a second of ${rows} row(s)${note}`, 'second', async () => {
    const written = await writeRows({ postgres: stack.postgres, perSecond, rows, seconds });
    if (written < 0.9 * perSecond * rows * seconds)
      console.log(`only ${(written / seconds).toFixed(0)} rows a second:`);
    return seconds;
  });
}
for (const load of [
  { perSecond: 100, rows: 1 },
  { perSecond: 1000, rows: 1 },
  { perSecond: 10, rows: 100 },
])
  await measureCommits('', load);

const app = new App(sidecar.url);
const other = new App(stack.sidecars[0]?.url ?? '');
const all = async (work: (n: number) => Promise<unknown>): Promise<number> => {
  for (let n = 0; n < READS; n++) await work(n);
  return READS;
};
/** On a machine that is busy Redis is late now and then, and what would be a hit is a miss. */
let others = 0;
const expectStatus = async (answer: Promise<{ readonly status: number }>, status: number): Promise<void> => {
  if ((await answer).status !== status) others += 1;
};
for (let n = 0; n < READS; n++) {
  const { lease } = await other.get('user', `shared:${n}`);
  await expectStatus(other.put('user', `shared:${n}`, VALUE, { lease }), 201);
}
await pause(1000);
await measure('hits of L2', 'read', () => all((n) => expectStatus(app.get('user', `shared:${n}`), 200)));
await measure('hits of L1', 'read', () => all((n) => expectStatus(app.get('user', `shared:${n}`), 200)));
const leases: (string | undefined)[] = [];
await measure('misses', 'read', () => all(async (n) => (leases[n] = (await app.get('user', `own:${n}`)).lease)));
await measure('fills of 1 KiB', 'fill', () =>
  all((n) => expectStatus(app.put('user', `own:${n}`, VALUE, { lease: leases[n] }), 201)),
);
console.log(`${others} of ${READS * 4} reads and fills were answered otherwise than meant`);
await sidecar.stop();
sidecar = await stack.addSidecar({ ...env, TIDEMARK_FETCH_INTERVAL: '50ms' });
await cacheable({ ...stack, sidecars: [sidecar] });
await pause(8000);
for (const perSecond of [100, 1000]) await measureCommits(', fetched every 50 ms', { perSecond, rows: 1 });
await withRedis(stack.servers.redis.url, async (redis) => {
  const stats = (await redis.info('commandstats')).matchAll(/cmdstat_(get|mget|evalsha):.*?usec_per_call=([\d.]+)/g);
  for (const [, name, us] of stats) console.log(`Redis takes ${us} us for a command ${name} (of all its clients)`);
});
await stack.stop();
await kafka.stop();
await kafkaProxy.stop();
await redisProxy.stop();
