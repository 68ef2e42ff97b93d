// What write-behind takes and how long a caller waits, in turns with what each write by itself takes in the same Postgres: callers that
// write one value after the other, through one sidecar to one flusher. Beside everything else on the machine, so compare within a round.
// Run: node test/bench/write-behind.ts
import { Agent, request } from 'node:http';
import pg from 'pg';
import { startStack } from '../kit/index.ts';
import { metric } from '../integration/support/write.ts';
import { costOf } from './support/process-cost.ts';

const CALLERS = 64;
/** Of one measurement; before the first, everything has run for as long. */
const SECONDS = 3;
const ROUNDS = 5;
/** Of writes that wait while the flusher does not work: three quarters of maxPending hold them. */
const BACKLOG = 12_000;
const BODY = JSON.stringify({ items: 'x'.repeat(200) });
const SQL = `insert into carts (id, items) values ($1, $2::jsonb) on conflict (id) do update set items = excluded.items`;

const stack = await startStack({
  sidecars: 2,
  servers: { postgres: { fsync: false } },
  initSql: 'create table carts (id text primary key, items jsonb not null)',
  config: {
    namespaces: {
      cart: {
        source: 'main',
        invalidate: [{ table: 'public.carts', keys: ['{id}'] }],
        writeBehind: { put: { sql: SQL, params: ['{key}', '{body}'] } },
      },
    },
  },
});
const url = stack.sidecars[0]?.url ?? '';
const agent = new Agent({ keepAlive: true, maxSockets: CALLERS });

function put(key: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(
      `${url}/v1/write/cart/${key}`,
      { method: 'PUT', agent, headers: { 'content-length': Buffer.byteLength(BODY) } },
      (answer) => {
        answer.resume().on('end', () => resolve(answer.statusCode ?? 0));
      },
    );
    sent.on('error', reject).end(BODY);
  });
}

/** Runs callers for a while; answers writes a second, and how long half and 99 of 100 of them took. */
async function measure(write: (n: number) => Promise<unknown>) {
  const times: number[] = [];
  const endMs = performance.now() + 1000 * SECONDS;
  let next = 0;
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      while (performance.now() < endMs) {
        const beganMs = performance.now();
        await write(next++);
        times.push(performance.now() - beganMs);
      }
    }),
  );
  const sorted = times.toSorted((a, b) => a - b);
  const at = (part: number): string => `${(sorted[Math.floor(part * sorted.length)] ?? 0).toFixed(1)} ms`;
  return { perSecond: Math.round(times.length / SECONDS), p50: at(0.5), p99: at(0.99) };
}

/** Processes whose time is told; Postgres has one for each connection. */
const watched = {
  'sidecar 1': stack.sidecars[0],
  'sidecar 2': stack.sidecars[1],
  flusher: stack.flusher,
  invalidator: stack.invalidator,
  Kafka: stack.servers.kafka,
};
const spent = () => Object.entries(watched).map(([name, handle]) => ({ name, cpuS: costOf(handle?.pid).cpuS }));

const counters = ['writes_total', 'statements_total', 'batches_total'] as const;
const flusher = async () => Promise.all(counters.map((name) => metric(stack.flusher.url, `tidemark_flusher_${name}`)));
const flushed = async () => {
  const sinceMs = performance.now();
  while ((await metric(stack.sidecars[1]?.admin ?? '', 'tidemark_write_behind_pending')) > 0) continue;
  return performance.now() - sinceMs;
};

const pool = new pg.Pool({ connectionString: stack.postgres, max: 16 });
const direct = (keys: number) => measure((n) => pool.query(SQL, [`k${n % keys}`, BODY]));

async function behind(keys: number) {
  const before = await flusher();
  const spentBefore = spent();
  let refused = 0;
  const told = await measure(async (n) => {
    if ((await put(`k${n % keys}`)) !== 202) refused += 1;
  });
  const lagMs = Math.round(await flushed());
  const [writes = 0, statements = 0, batches = 0] = (await flusher()).map((count, i) => count - (before[i] ?? 0));
  const costs = spent().map(
    ({ name, cpuS }, i) => `${name} ${Math.round((1e6 * (cpuS - (spentBefore[i]?.cpuS ?? 0))) / writes)}`,
  );
  return { told, lagMs, refused, writes, statements, batches, costs: costs.join(', ') };
}

try {
  while ((await put('first')) !== 202) continue;
  await behind(20_000);
  await direct(20_000);
  for (const [what, keys] of [
    ['64 keys', 64],
    ['20,000 keys', 20_000],
  ] as const) {
    const ratios: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const { told, lagMs, refused, writes, statements, batches, costs } = await behind(keys);
      const itself = await direct(keys);
      ratios.push(told.perSecond / itself.perSecond);
      process.stdout.write(
        `${what}: behind ${told.perSecond} writes/s, p50 ${told.p50}, p99 ${told.p99}, ${refused} refused, ${writes} in ${statements} statements and ` +
          `${batches} transactions, all flushed ${lagMs} ms after the last; a transaction each ${itself.perSecond} writes/s, p50 ${itself.p50}, p99 ${itself.p99}\n` +
          `  µs of CPU a write: ${costs}\n`,
      );
    }
    const [median = 0] = ratios.toSorted((a, b) => a - b).slice(Math.floor(ROUNDS / 2));
    process.stdout.write(`${what}: ${median.toFixed(2)} of what a transaction each gives, the median of ${ROUNDS}\n`);
  }
  stack.flusher.pause();
  for (let n = 0; n < BACKLOG; n += 200)
    await Promise.all(Array.from({ length: 200 }, (_, i) => put(`backlog-${n + i}`)));
  const before = (await metric(stack.sidecars[1]?.admin ?? '', 'tidemark_write_behind_pending')) / 1000;
  stack.flusher.resume();
  process.stdout.write(
    `the flusher by itself: ${Math.round((1e6 * before) / (await flushed()))} writes/s, a key each\n`,
  );
} finally {
  await pool.end();
  agent.destroy();
  await stack.stop();
}
