import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startPostgresPair, startStack, type PostgresPair, type SidecarHandle, type Stack } from '../kit/index.ts';
import { App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { judgeReads } from './support/judged-reads.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';

// Sidecars that load from the primary and from its standby, while replication is cut, servers die, and one becomes the other.

const KEYS = 10;

let pair: PostgresPair;
let stack: Stack;
/** One loads where the primary is, one from the standby, one from the server that is the primary at first. */
let byAddress: App;
let fromStandby: App;
let fromFirst: App;

const databaseAt = (url: string): string => {
  const at = new URL(url);
  at.pathname = new URL(stack.postgres).pathname;
  return at.href;
};
const appOf = ({ url }: SidecarHandle): App => new App(url);

beforeAll(async () => {
  // Else the primary would tell of no change that the standby does not have.
  pair = await startPostgresPair({ fsync: false, standbyFirst: false });
  stack = await startStack({
    sidecars: 0,
    servers: { started: { postgres: pair } },
    env: { sidecar: { TIDEMARK_MAX_STALENESS: '10s', TIDEMARK_COALESCE_TIMEOUT: '10s' } },
    initSql: `
      create table counters (id int primary key, n int not null);
      insert into counters select i, 0 from generate_series(1, ${KEYS + 1}) i;`,
    config: {
      namespaces: {
        counter: {
          source: 'main',
          invalidate: [{ table: 'public.counters', keys: ['{id}'] }],
          load: {
            sql: 'select id, n from counters where id = $1',
            timeout: '5s',
            breaker: { failures: 3, for: '500ms' },
          },
        },
      },
    },
  });
  await pair.caughtUp();
  byAddress = appOf(await stack.addSidecar());
  fromStandby = appOf(await stack.addSidecar({ TIDEMARK_LOAD_URL: databaseAt(pair.standby?.url ?? '') }));
  fromFirst = appOf(await stack.addSidecar({ TIDEMARK_LOAD_URL: databaseAt(pair.primary.url) }));
  await cacheable(stack);
}, 300_000);
afterAll(() => stack?.stop());

const nOf = async (app: App, id: number): Promise<number> =>
  (JSON.parse((await app.get('counter', String(id))).body) as { n: number }).n;
const committed = async (id: number): Promise<number> => {
  const [row] = await stack.sql<{ n: number }>('select n from counters where id = $1', [id]);
  return row?.n ?? -1;
};

it('[I5] what is loaded from a standby that falls behind is never older than a commit that the read names', async () => {
  showLogsOnFailure(stack);
  const judging = judgeReads(stack, [fromStandby], { namespace: 'counter', keys: KEYS, reads: 1000 });
  let isJudged = false;
  void judging.finally(() => (isJudged = true)).catch(() => undefined);
  // It falls behind again and again.
  while (!isJudged) {
    pair.cutReplication();
    await wait(100);
    pair.healReplication();
    await wait(400);
  }
  expect((await judging).reads).toBeGreaterThanOrEqual(1000);
}, 300_000);

it('[I5] while the standby hears of nothing, its values are not taken for new ones', async () => {
  showLogsOnFailure(stack);
  const before = await committed(1);
  await eventually(async () => expect(await nOf(fromStandby, 1)).toBe(before));
  pair.cutReplication();
  try {
    await stack.sql('update counters set n = n + 1 where id = 1');
    // It is evicted, and what the standby has is older than the change.
    await eventually(async () => {
      const { status } = await fromStandby.get('counter', '1');
      expect([503, 504]).toContain(status);
    });
    // What has not changed is as true there as anywhere.
    await eventually(async () => expect((await fromStandby.get('counter', String(KEYS + 1))).status).toBe(200));
    await eventually(async () => expect(await nOf(byAddress, 1)).toBe(before + 1));
  } finally {
    pair.healReplication();
  }
  await eventually(async () => expect(await nOf(fromStandby, 1)).toBe(before + 1));
}, 180_000);

it('while Postgres is away loads fail at once, and work again when it is back', async () => {
  showLogsOnFailure(stack);
  await pair.kill();
  const failed = await byAddress.get('counter', '2', { 'cache-control': 'no-cache' });
  expect([failed.status, failed.body]).toEqual([503, expect.stringContaining('Postgres')]);
  await pair.start();
  for (const app of [byAddress, fromStandby, fromFirst])
    await eventually(async () => expect((await app.get('counter', '2')).status).toBe(200));
}, 180_000);

it('[I5] [I10] after a promotion nothing is loaded from a server that the stream does not come from', async () => {
  showLogsOnFailure(stack);
  await pair.slotSynced(stack.slot);
  await pair.promote({ oldPrimary: 'leave' });
  // The pool of the kit goes to the address, as the invalidator does.
  await eventually(async () => void (await stack.sql('update counters set n = n + 1000')));
  const now = await committed(3);
  for (const app of [byAddress, fromStandby]) await eventually(async () => expect(await nOf(app, 3)).toBe(now));
  // Its pool still has connections to the old primary, which answers them.
  await eventually(async () => {
    const { status, body } = await fromFirst.get('counter', '3', { 'cache-control': 'no-cache' });
    expect([status, body]).toEqual([
      503,
      expect.stringContaining('on timeline 1, but the stream comes from timeline 2'),
    ]);
  });
  const judged = await judgeReads(stack, [byAddress, fromStandby], { namespace: 'counter', keys: KEYS, reads: 500 });
  expect(judged.reads).toBeGreaterThanOrEqual(500);
}, 300_000);
