import pg from 'pg';
import { expect, it, onTestFinished } from 'vitest';
import { Dice } from '../../sidecar/src/testing/random.ts';
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
  // Whatever has to be waited for takes as long as it takes.
  env: {
    sidecar: {
      TIDEMARK_SESSION_TIMEOUT: '30s',
      TIDEMARK_COALESCE_TIMEOUT: '5s',
      TIDEMARK_MAX_STALENESS: '10m',
      TIDEMARK_LEASE_TTL: '1m',
      TIDEMARK_REDIS_DEADLINE: '5s',
    },
  },
});
const keys = Array.from({ length: ACCOUNTS }, (_, i) => String(i + 1));

interface Reply {
  readonly snapshot?: string | null;
  readonly get?: { readonly accounts: readonly { status: number; text?: string; lease?: string }[] };
}

async function batch(url: string, body: object): Promise<Reply> {
  const response = await fetch(`${url}/v1/batch`, { method: 'POST', body: JSON.stringify(body) });
  expect(response.status).toBe(200);
  return (await response.json()) as Reply;
}

/** One writer that moves money, in one transaction each, whenever it is told to. */
function transfers(): { move: () => void; count: () => number; stop: () => Promise<number> } {
  const client = new pg.Client({ connectionString: used.stack.postgres });
  let [count, wanted, isStopping] = [0, 0, false];
  let wake: () => void = () => undefined;
  const done = (async () => {
    await client.connect();
    for (;;) {
      while (count === wanted && !isStopping) await new Promise<void>((resolve) => (wake = resolve));
      if (isStopping) break;
      const [from, to] = [1 + (count % ACCOUNTS), 1 + ((count + 1) % ACCOUNTS)];
      await client.query(
        `begin; update accounts set balance = balance - 7 where id = ${from}; update accounts set balance = balance + 7 where id = ${to}; commit`,
      );
      count += 1;
    }
    await client.end();
  })();
  return {
    move: () => {
      wanted = Math.max(wanted, count + 1);
      wake();
    },
    count: () => count,
    stop: async () => {
      isStopping = true;
      wake();
      await done;
      return count;
    },
  };
}

type Found = NonNullable<Reply['get']>['accounts'];

/** What is found adds up to; NaN where some of it is missing. */
function sumOf(found: Found): number {
  return found.reduce((total, { text }) => total + Number(text ?? Number.NaN), 0);
}

/** What an application adds up: what is found, and what it loads and stores for the rest, each in a statement of its own. */
async function loadRest(url: string, found: Found, tells: boolean): Promise<number> {
  const rest = await Promise.all(
    found.map(async ({ text, lease }, i) => {
      const key = keys[i] as string;
      if (text !== undefined) return { balance: Number(text), put: [] };
      const [row] = await used.stack.sql<{ balance: number }>('select balance from accounts where id = $1', [key]);
      const [now] = tells
        ? await used.stack.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn')
        : [];
      const balance = row?.balance ?? Number.NaN;
      const fill = { namespace: 'accounts', key, lease, text: String(balance), ...(now && { loadedAt: now.lsn }) };
      return { balance, put: lease === undefined ? [] : [fill] };
    }),
  );
  const put = rest.flatMap((each) => each.put);
  if (put.length > 0) await batch(url, { put });
  return rest.reduce((total, { balance }) => total + balance, 0);
}

it('[I15] every snapshot adds up while money moves', { timeout: 300_000 }, async () => {
  const running = transfers();
  // Money moves once in so many answers, not so often in a second: readers that are slow would find nothing that holds still.
  const dice = new Dice(15);
  const answered = (): void => {
    if (dice.chance(1 / 12)) running.move();
  };
  onTestFinished(async () => void (await running.stop()));
  const seen = { taken: 0, none: 0, inconsistent: 0 };
  // Until enough was seen, however busy the machine is. The accounts are moved while they are looked at: else the test would prove nothing.
  const isEnough = (): boolean => seen.taken > 20 && seen.inconsistent > 0 && running.count() > 50;
  const [leastMs, mostMs] = [performance.now() + 8_000, performance.now() + 240_000];
  const goesOn = (nowMs = performance.now()): boolean => nowMs < leastMs || (nowMs < mostMs && !isEnough());
  const reader = async (url: string, tells: boolean): Promise<void> => {
    while (goesOn()) {
      const { snapshot, get } = await batch(url, { consistency: 'snapshot', get: { accounts: keys } });
      answered();
      const found = get?.accounts ?? [];
      if (typeof snapshot === 'string') {
        seen.taken += 1;
        expect(sumOf(found)).toBe(TOTAL);
      } else {
        seen.none += 1;
        if ((await loadRest(url, found, tells)) !== TOTAL) seen.inconsistent += 1;
      }
      answered();
      // What an application without snapshots would add up.
      const plain = await batch(url, { get: { accounts: keys } });
      answered();
      if ((await loadRest(url, plain.get?.accounts ?? [], tells)) !== TOTAL) seen.inconsistent += 1;
    }
  };
  await Promise.all(used.stack.sidecars.flatMap(({ url }) => [reader(url, true), reader(url, false)]));
  const moved = await running.stop();
  expect(seen.taken).toBeGreaterThan(20);
  expect(moved).toBeGreaterThan(50);
  expect(seen.inconsistent).toBeGreaterThan(0);
});
