import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createStack, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { eventually } from './support/eventually.ts';
import { Feed } from './support/feed.ts';
import { ruleFor } from './support/followed.ts';
import { showLogsOnFailure } from './support/stack.ts';
import { Writers } from './support/writers.ts';

// Much at once: memory stays bounded, records stay small, nothing is lost.

const MAX_RECORD_BYTES = 900_000;
const MAX_GROWTH_MIB = 200;

let stack: Stack;
let feed: Feed;

beforeAll(async () => {
  stack = await createStack(sharedServers(), {
    sidecars: 0,
    applier: false,
    redis: false,
    initSql: `
      create table big (id int primary key, v text);
      create table items (id bigint primary key);
      create table wide (id text primary key);
    `,
    config: {
      namespaces: {
        big: ruleFor('big', '{id}'),
        items: ruleFor('items', '{id}'),
        wide: ruleFor('wide', '{id}'),
      },
    },
  });
  feed = await Feed.open(stack);
});

afterAll(async () => {
  await feed?.stop();
  await stack?.stop();
});

beforeEach(() => showLogsOnFailure(stack));

const residentMib = (): number =>
  Number(execFileSync('ps', ['-o', 'rss=', '-p', `${stack.invalidator.pid}`], { encoding: 'utf8' })) / 1024;

it(
  '[I13] a transaction of a million rows becomes every row of its table, in bounded memory',
  { timeout: 600_000 },
  async () => {
    const before = residentMib();
    let peak = before;
    const watch = setInterval(() => {
      peak = Math.max(peak, residentMib());
    }, 100);
    const { length } = feed.batches;
    await stack.sql(`insert into big select n, 'v' || n from generate_series(1, 1000000) n`);
    await feed.catchesUp(stack, 300_000);
    clearInterval(watch);
    expect(feed.changes(length).map(({ table, op }) => ({ table, op }))).toEqual([{ table: 'public.big', op: 'all' }]);
    expect(peak - before).toBeLessThan(MAX_GROWTH_MIB);
    expect(Math.max(...feed.sizes)).toBeLessThan(MAX_RECORD_BYTES);
  },
);

it(
  '[I13] many transactions of many rows each fill records up to their bound, row by row',
  { timeout: 600_000 },
  async () => {
    const before = residentMib();
    const { length } = feed.batches;
    for (let i = 0; i < 40; i++) {
      await stack.sql(
        `insert into wide select repeat('x', 60) || n from generate_series(${i * 5000 + 1}, ${(i + 1) * 5000}) n`,
      );
    }
    await feed.catchesUp(stack, 300_000);
    const changes = feed.changes(length).filter(({ table }) => table === 'public.wide');
    expect(changes).toHaveLength(200_000);
    expect(changes.every(({ op }) => op === 'insert')).toBe(true);
    expect(Math.max(...feed.sizes)).toBeLessThan(MAX_RECORD_BYTES);
    expect(residentMib() - before).toBeLessThan(MAX_GROWTH_MIB);
  },
);

it('keeps up with a thousand small transactions a second', { timeout: 600_000 }, async () => {
  const { length } = feed.batches;
  const startedMs = performance.now();
  const writers = new Writers({ url: stack.postgres, clients: 10, perSecond: 1000 });
  await eventually(() => expect(writers.acknowledged.length).toBeGreaterThan(8000), { withinMs: 300_000, everyMs: 50 });
  await writers.stop();
  const writingMs = performance.now() - startedMs;
  await writers.expectPublished({ stack, feed });
  const records = feed.batches.slice(length).filter(({ commits }) => commits.length > 0);
  // Whoever falls behind does so more and more; a machine that stood still for a moment has held up a few.
  const lagsMs = records.map(({ publishedAtUs, committedAtUs }) => (publishedAtUs - committedAtUs) / 1000);
  const medianMs = lagsMs.toSorted((a, b) => a - b)[lagsMs.length >> 1];
  expect(medianMs).toBeLessThan(Math.max(2000, writingMs / 4));
  // They were merged: far fewer records than transactions, and never more than the linger allows.
  expect(records.length).toBeLessThan(writingMs / 2 + 10);
});
