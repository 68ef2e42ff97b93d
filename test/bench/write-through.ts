import { Agent, request } from 'node:http';
import pg from 'pg';
import { startStack } from '../kit/index.ts';

/*
 * What a write through the sidecar takes, beside the same statement over a connection of one's own: one after the other, in turns, so that
 * both have the same machine. And how many of the values survive the arrival of their own change.
 *
 *   node test/bench/write-through.ts
 */

const WRITES = 1_000;
const KEYS = 200;
const sql = 'insert into users values ($1, $2) on conflict (id) do update set doc = excluded.doc';

const stack = await startStack({
  initSql: 'create table users (id text primary key, doc jsonb)',
  config: {
    namespaces: {
      users: {
        source: 'main',
        invalidate: [{ table: 'public.users', keys: ['{id}'] }],
        writeThrough: { put: { sql } },
      },
      loaded: {
        source: 'main',
        invalidate: [{ table: 'public.users', keys: ['{id}'] }],
        load: { sql: 'select doc from users where id = $1' },
        writeThrough: { put: { sql } },
      },
    },
  },
});
const [sidecar] = stack.sidecars;
if (sidecar === undefined) throw new Error('no sidecar');
const agent = new Agent({ keepAlive: true });
const client = new pg.Client({ connectionString: stack.postgres });
await client.connect();

/** Milliseconds. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const beganMs = performance.now();
  await work();
  return performance.now() - beganMs;
}

function put(namespace: string, key: string, body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-length': Buffer.byteLength(body) };
    const outgoing = request(
      `${sidecar?.url}/v1/write/${namespace}/${key}`,
      { method: 'PUT', agent, headers },
      (answer) => {
        answer
          .resume()
          .on('end', () => (answer.statusCode === 204 ? resolve() : reject(new Error(`${answer.statusCode}`))));
      },
    );
    outgoing.on('error', reject).end(body);
  });
}

const ways: Readonly<Record<string, (key: string, body: string) => Promise<unknown>>> = {
  'plain SQL': (key, body) => client.query(sql, [key, body]),
  'through the sidecar, cached as sent': (key, body) => put('users', key, body),
  'through the sidecar, read back': (key, body) => put('loaded', key, body),
};
const tookMs = new Map<string, number[]>(Object.keys(ways).map((way) => [way, []]));
for (let n = -50; n < WRITES; n++) {
  for (const [way, write] of Object.entries(ways)) {
    // Keys of its own: the other ways would evict what this one wrote.
    const ms = await timed(() => write(`${way.length}-${Math.abs(n) % KEYS}`, `{"n":${n}}`));
    if (n >= 0) tookMs.get(way)?.push(ms);
  }
}
for (const [way, all] of tookMs) {
  const sorted = all.toSorted((a, b) => a - b);
  const at = (part: number): string => (sorted[Math.floor(sorted.length * part)] as number).toFixed(2);
  process.stdout.write(`${way}: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms\n`);
}
const metrics = await (await fetch(`${sidecar.admin}/metrics`)).text();
for (const [line] of metrics.matchAll(/^tidemark_own_values_total.*$/gm)) process.stdout.write(`${line}\n`);
agent.destroy();
await client.end();
await stack.stop();
