import { expect, it } from 'vitest';
import { App } from './support/app.ts';
import { PATIENT } from './support/patient.ts';
import { eventually } from './support/eventually.ts';
import { useStack } from './support/stack.ts';

// Values that differ by who asks, where sidecars load them, share them, agree who loads, and load them ahead of readers.

const TENANTS = ['a', 'b', 'Zürich'] as const;
type Tenant = (typeof TENANTS)[number];
const load = {
  sql: 'select tenant, n from quotes where id = $1 and tenant = $2',
  params: ['{key}', '{header.x-tenant}'],
  timeout: '10s',
};
const common = { source: 'main', vary: { headers: ['accept-language'], identity: ['x-tenant'] } };
const used = useStack({
  sidecars: 2,
  initSql: `
    create table quotes (id text, tenant text, n int not null default 0, primary key (id, tenant));
    alter table quotes replica identity full;
    insert into quotes
    select id, tenant from unnest(array['hot', 'once', 'other']) id, unnest(array['a', 'b', 'Zürich']) tenant;`,
  // A busy machine may take seconds for a load.
  env: {
    sidecar: {
      ...PATIENT,
      TIDEMARK_COALESCE_TIMEOUT: '60s',
    },
  },
  config: {
    namespaces: {
      quote: { ...common, invalidate: [{ table: 'public.quotes', keys: ['{id}'] }], load, refresh: { ahead: 10 } },
      tagged: {
        ...common,
        invalidate: [{ table: 'public.quotes', tags: ['of:{tenant}'] }],
        load: { ...load, tags: ['of:{header.x-tenant}'] },
      },
    },
  },
});

const CACHED = { 'cache-control': 'only-if-cached' };
/** Headers are bytes. */
const as = (tenant: Tenant): Record<string, string> => ({ 'x-tenant': Buffer.from(tenant).toString('latin1') });

/** What a tenant is answered, which is never another one's; undefined where that is nothing. */
async function ask(of: App, at: [string, string], tenant: Tenant, more = {}): Promise<number | undefined> {
  const { status, body } = await of.get(...at, { ...as(tenant), ...more });
  if (status === 404) return undefined;
  const found = JSON.parse(body) as { tenant: string; n: number };
  expect([status, found.tenant]).toEqual([200, tenant]);
  return found.n;
}

const metric = async (name: string, i: number): Promise<number> => {
  const text = await (await fetch(`${used.stack.sidecars[i]?.admin}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1]);
};

it('[I20] each is loaded once, for those only whose it is, and shared with them', async () => {
  for (const tenant of TENANTS) expect(await ask(used.apps[0]!, ['quote', 'once'], tenant)).toBe(0);
  // Asked so it loads nothing, and nobody else's is found in Redis under the same key.
  for (const tenant of TENANTS)
    await eventually(async () => expect(await ask(used.apps[1]!, ['quote', 'once'], tenant, CACHED)).toBe(0));
  expect(await ask(used.apps[1]!, ['quote', 'once'], 'a', { ...CACHED, 'accept-language': 'de' })).toBeUndefined();
});

it(
  '[I20] those that are read most are loaded anew when their row has changed, before anybody asks',
  { timeout: 300_000 },
  async () => {
    const hot: [string, string] = ['quote', 'hot'];
    let n = 0;
    await eventually(
      async () => {
        // Which are hot is known of a sample of the reads.
        for (const app of used.apps)
          for (const tenant of TENANTS) await Promise.all(Array.from({ length: 60 }, () => ask(app, hot, tenant)));
        const before = await Promise.all([0, 1].map((i) => metric('tidemark_ahead_loads_total', i)));
        n += 1;
        await used.stack.sql(`update quotes set n = ${n} where id = 'hot'`);
        for (const i of [0, 1])
          await eventually(
            async () => expect(await metric('tidemark_ahead_loads_total', i)).toBeGreaterThanOrEqual(before[i]! + 3),
            { withinMs: 20_000 },
          );
      },
      { withinMs: 180_000 },
    );
    for (const app of used.apps)
      for (const tenant of TENANTS) await eventually(async () => expect(await ask(app, hot, tenant, CACHED)).toBe(n));
  },
);

it('[I20] a tag made of the header evicts those of this caller, and no others', async () => {
  const at: [string, string] = ['tagged', 'other'];
  for (const app of used.apps) for (const tenant of TENANTS) expect(await ask(app, at, tenant)).toBe(0);
  await used.stack.sql(`update quotes set n = 7 where id = 'other' and tenant = 'Zürich'`);
  for (const app of used.apps) {
    await eventually(async () => expect(await ask(app, at, 'Zürich')).toBe(7));
    for (const tenant of ['a', 'b'] as const) expect(await ask(app, at, tenant, CACHED)).toBe(0);
  }
});

it('[I20] a sidecar that begins later and warms what is hot gives to each what is his', async () => {
  const hot: [string, string] = ['quote', 'hot'];
  const { url } = await used.stack.addSidecar();
  const later = new App(url);
  await eventually(async () => expect((await later.get(...hot, { ...as('a'), ...CACHED })).status).toBe(200));
  const begun = await fetch(`${url}/v1/warm`, { method: 'POST', body: '{"namespace":"quote","hot":10}' });
  expect(begun.status).toBe(202);
  await eventually(async () => {
    const { warmings } = (await (await fetch(`${url}/v1/warm`)).json()) as { warmings: { state: string }[] };
    expect(warmings.map(({ state }) => state)).toEqual(['ended']);
  });
  for (const tenant of TENANTS) expect(await ask(later, hot, tenant)).toBe(await ask(used.apps[0]!, hot, tenant));
});
