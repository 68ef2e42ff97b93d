import pg from 'pg';
import { expect, it, onTestFinished } from 'vitest';
import { useStack } from './support/stack.ts';

// Money moves between accounts, each cached by itself. Whatever a batch answers as a snapshot adds up to what there is, however
// many transfers commit meanwhile; without that the same accounts do not.

const ACCOUNTS = 4;
const TOTAL = ACCOUNTS * 1000;
const used = useStack({
  sidecars: 2,
  initSql: `
    create table accounts (id int primary key, balance int not null);
    insert into accounts select n, 1000 from generate_series(1, ${ACCOUNTS}) n;
  `,
  config: { namespaces: { accounts: { source: 'main', invalidate: [{ table: 'public.accounts', keys: ['{id}'] }] } } },
});
const keys = Array.from({ length: ACCOUNTS }, (_, i) => String(i + 1));

interface Reply {
  readonly snapshot?: string | null;
  readonly get?: { readonly accounts: readonly { status: number; text?: string; lease?: string }[] };
  readonly put?: readonly { status: number }[];
}

async function batch(url: string, body: object): Promise<Reply> {
  const response = await fetch(`${url}/v1/batch`, { method: 'POST', body: JSON.stringify(body) });
  expect(response.status).toBe(200);
  return (await response.json()) as Reply;
}

/** One writer that moves money now and then, in one transaction each. */
function transfers(everyMs: number): { count: () => number; stop: () => Promise<number> } {
  const client = new pg.Client({ connectionString: used.stack.postgres });
  let isStopping = false;
  let count = 0;
  const done = (async () => {
    await client.connect();
    while (!isStopping) {
      const [from, to] = [1 + (count % ACCOUNTS), 1 + ((count + 1) % ACCOUNTS)];
      await client.query(
        `begin; update accounts set balance = balance - 7 where id = ${from}; update accounts set balance = balance + 7 where id = ${to}; commit`,
      );
      count += 1;
      await client.query('select pg_sleep($1)', [everyMs / 1000]);
    }
    await client.end();
  })();
  return {
    count: () => count,
    stop: async () => {
      isStopping = true;
      await done;
      return count;
    },
  };
}

/** Loads what is missing, one by one as applications do, each in a statement of its own. */
async function load(url: string, missing: readonly { key: string; lease: string }[], tells: boolean): Promise<void> {
  const put = await Promise.all(
    missing.map(async ({ key, lease }) => {
      const [row] = await used.stack.sql<{ balance: number }>('select balance from accounts where id = $1', [key]);
      const [now] = tells
        ? await used.stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn')
        : [];
      return { namespace: 'accounts', key, lease, text: String(row?.balance), ...(now && { loadedAt: now.lsn }) };
    }),
  );
  await batch(url, { put });
}

it('[I15] every snapshot adds up while money moves', { timeout: 120_000 }, async () => {
  const running = transfers(15);
  onTestFinished(async () => void (await running.stop()));
  const seen = { taken: 0, none: 0, inconsistent: 0 };
  // Until enough was seen, however busy the machine is. The accounts are moved while they are looked at: else the test would prove nothing.
  const isEnough = (): boolean => seen.taken > 20 && seen.inconsistent > 0 && running.count() > 50;
  const [leastMs, mostMs] = [performance.now() + 8_000, performance.now() + 90_000];
  const goesOn = (nowMs = performance.now()): boolean => nowMs < leastMs || (nowMs < mostMs && !isEnough());
  const reader = async (url: string, tells: boolean): Promise<void> => {
    while (goesOn()) {
      const { snapshot, get } = await batch(url, { consistency: 'snapshot', get: { accounts: keys } });
      const found = get?.accounts ?? [];
      const sum = found.reduce((total, { text }) => total + Number(text ?? Number.NaN), 0);
      if (typeof snapshot === 'string') {
        seen.taken += 1;
        expect(sum).toBe(TOTAL);
      } else {
        seen.none += 1;
        if (sum !== TOTAL && !Number.isNaN(sum)) seen.inconsistent += 1;
      }
      const missing = found.flatMap(({ lease }, i) => (lease === undefined ? [] : [{ key: keys[i] as string, lease }]));
      if (missing.length > 0) await load(url, missing, tells);
      // What an application without snapshots would add up.
      const plain = await batch(url, { get: { accounts: keys } });
      const plainSum =
        plain.get?.accounts.reduce((total, { text }) => total + Number(text ?? Number.NaN), 0) ?? Number.NaN;
      if (!Number.isNaN(plainSum) && plainSum !== TOTAL) seen.inconsistent += 1;
    }
  };
  await Promise.all(used.stack.sidecars.flatMap(({ url }) => [reader(url, true), reader(url, false)]));
  const moved = await running.stop();
  expect(seen.taken).toBeGreaterThan(20);
  expect(moved).toBeGreaterThan(50);
  expect(seen.inconsistent).toBeGreaterThan(0);
});
