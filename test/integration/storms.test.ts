import { expect, it } from 'vitest';
import type { App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { PATIENT } from './support/patient.ts';
import { useStack } from './support/stack.ts';

// SPEC I13 as applications see it: transactions that change so many rows that each fills records, and one that changes more than
// any record names, while other keys are read.

const used = useStack({
  initSql: `
    create table items (id int primary key, v int); insert into items select n, 0 from generate_series(1, 200000) n;
    create table calm (id int primary key, v int); insert into calm values (1, 0);
  `,
  config: {
    namespaces: {
      items: { source: 'main', invalidate: [{ table: 'public.items', keys: ['{id}'] }] },
      calm: { source: 'main', invalidate: [{ table: 'public.calm', keys: ['{id}'] }] },
    },
  },
  // Postgres says nothing else while it decodes a large transaction, and that takes as long as the machine takes.
  env: { sidecar: PATIENT },
});

async function cache(app: App, namespace: string, key: string): Promise<void> {
  await eventually(async () => {
    const { lease } = await app.get(namespace, key, { 'cache-control': 'no-cache' });
    expect((await app.put(namespace, key, 'old', { lease })).status).toBeOneOf([201, 204]);
  });
}

it('[I13] hits go on while storms are applied, and nothing that they touched stays', { timeout: 600_000 }, async () => {
  const [app] = used.apps as [App];
  const touched = ['1', '9000', '100000', '199999'];
  for (const key of touched) await cache(app, 'items', key);
  await cache(app, 'calm', '1');
  let isStorming = true;
  const latenciesMs: number[] = [];
  const reading = (async () => {
    while (isStorming) {
      const startedMs = performance.now();
      expect((await app.get('calm', '1')).body).toBe('old');
      latenciesMs.push(performance.now() - startedMs);
    }
  })();
  try {
    for (let from = 1; from < 200_000; from += 20_000)
      await used.stack.sql('update items set v = v + 1 where id between $1 and $2', [from, from + 19_999]);
    await used.stack.sql('update items set v = v + 1');
    for (const key of touched)
      await eventually(
        async () => expect((await app.get('items', key, { 'cache-control': 'only-if-cached' })).status).toBe(404),
        { withinMs: 300_000 },
      );
  } finally {
    isStorming = false;
    await reading;
  }
  // Whoever had to wait for a storm would be answered a few times at the most, and then after seconds. What stalls the machine stalls few.
  const sorted = latenciesMs.toSorted((a, b) => a - b);
  expect(sorted.length).toBeGreaterThan(100);
  expect(sorted[Math.floor(0.9 * sorted.length)]).toBeLessThan(1_000);
});
