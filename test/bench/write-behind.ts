// What write-behind takes and how long a caller waits, beside what each write by itself takes in the same Postgres: callers that write
// one value after the other, through one sidecar to one flusher. Beside everything else on the machine, so compare within a run.
// Run: node test/bench/write-behind.ts
import { Agent, request } from 'node:http';
import pg from 'pg';
import { startStack } from '../kit/index.ts';
import { metric } from '../integration/support/write.ts';
import { costOf } from './support/process-cost.ts';

const CALLERS = 64;
const SECONDS = 6;
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
async function measure(write: (caller: number, turn: number) => Promise<unknown>) {
  const times: number[] = [];
  const endMs = performance.now() + 1000 * SECONDS;
  await Promise.all(
    Array.from({ length: CALLERS }, async (_, caller) => {
      for (let turn = 0; performance.now() < endMs; turn++) {
        const beganMs = performance.now();
        await write(caller, turn);
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

try {
  while ((await put('first')) !== 202) continue;
  for (const [what, keys] of [
    ['64 keys', 64],
    ['20,000 keys', 20_000],
  ] as const) {
    const before = await flusher();
    const spentBefore = spent();
    const refused = { count: 0 };
    const told = await measure(async (caller, turn) => {
      if ((await put(`k${(caller + CALLERS * turn) % keys}`)) !== 202) refused.count += 1;
    });
    const waitMs = performance.now();
    while ((await metric(stack.sidecars[1]?.admin ?? '', 'tidemark_write_behind_pending')) > 0) continue;
    const [writes = 0, statements = 0, batches = 0] = (await flusher()).map((count, i) => count - (before[i] ?? 0));
    process.stdout.write(
      `write-behind, ${what}: ${told.perSecond} writes/s, p50 ${told.p50}, p99 ${told.p99}, ${refused.count} refused; ` +
        `${writes} writes in ${statements} statements and ${batches} transactions, all flushed ${Math.round(performance.now() - waitMs)} ms after the last\n`,
    );
    const each = spent().map(
      ({ name, cpuS }, i) => `${name} ${Math.round((1e6 * (cpuS - (spentBefore[i]?.cpuS ?? 0))) / writes)}`,
    );
    process.stdout.write(`  µs of CPU a write: ${each.join(', ')}\n`);
  }
  const pool = new pg.Pool({ connectionString: stack.postgres, max: 16 });
  const direct = await measure((caller, turn) => pool.query(SQL, [`k${(caller + CALLERS * turn) % 20_000}`, BODY]));
  process.stdout.write(
    `a transaction each, 16 connections: ${direct.perSecond} writes/s, p50 ${direct.p50}, p99 ${direct.p99}\n`,
  );
  await pool.end();
} finally {
  agent.destroy();
  await stack.stop();
}
