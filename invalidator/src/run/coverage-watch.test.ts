import { createLogger } from '@tidemark/runtime';
import { expect, it } from 'vitest';
import type { CatalogLook } from '../adapters/postgres-catalog.ts';
import type { MemberFacts } from '../core/catalog.ts';
import { ruleSet } from '../core/rule-set.ts';
import { CoverageWatch } from './coverage-watch.ts';

const PARTITION = 7;
const root: MemberFacts = {
  oid: 1,
  schema: 'public',
  table: 'events',
  kind: 'p',
  logged: true,
  columns: ['id'],
  types: ['integer'],
  identityKind: 'd',
  identity: ['id'],
  attached: '',
  candidates: [],
  published: true,
  filtered: false,
  sentColumns: undefined,
  membership: '1',
};
const partition: MemberFacts = { ...root, oid: PARTITION, table: 'events_7', kind: 'r', attached: '9', membership: '' };

const look = (...members: readonly MemberFacts[]): CatalogLook => ({
  facts: {
    publication: {
      identity: '1:7',
      owned: true,
      allTables: false,
      viaRoot: false,
      operations: ['insert', 'update', 'delete', 'truncate'],
    },
    tables: [{ name: 'public.events', members }],
  },
  oldestXid: 1n,
  insertLsn: 1,
});

/** A watch that looks at what the test shows it, and what it purged. */
async function watch() {
  const purged: string[] = [];
  const looks: ((found: CatalogLook | Error) => void)[] = [];
  const opening = CoverageWatch.open({
    rules: ruleSet([{ name: 'event', source: 'main', rules: [{ table: 'public.events', keys: ['{id}'], tags: [] }] }]),
    claimsRetired: () => false,
    context: {
      logger: createLogger({ service: 'test', instance: 'coverage', level: 'silent' }),
      config: { publication: 'tidemark' },
    },
    catalog: {
      look: () =>
        new Promise((resolve, reject) => {
          looks.push((found) => (found instanceof Error ? reject(found) : resolve(found)));
        }),
      nextXid: () => Promise.resolve(2n),
      repair: () => Promise.resolve(),
      emitPurge: ({ purge }) => {
        purged.push(...purge.map(({ namespace }) => namespace));
        return Promise.resolve(1);
      },
    },
  });
  const show = (found: CatalogLook | Error): void => looks.shift()?.(found);
  show(look(root));
  const coverage = await opening;
  /** A look at the catalog that finds this; what comes `meanwhile` comes before it is back. */
  const check = async (found: CatalogLook | Error, meanwhile: () => void = () => undefined): Promise<void> => {
    const checking = coverage.check();
    meanwhile();
    show(found);
    await checking;
  };
  /** The stream names the partition. */
  const name = (): void => coverage.noteMember(PARTITION, ['public.events']);
  return { check, name, purged };
}

it('a partition that is detached before a look shows it is noticed by what the stream told', async () => {
  const { check, name, purged } = await watch();
  name();
  await check(look(root));
  expect(purged).toEqual(['event']);
});

// Such a look is no proof that the partition is gone: it may have been attached since, and its detachment is still to come.
it('a partition that the stream names during a look is held against the next one', async () => {
  const { check, name, purged } = await watch();
  await check(look(root), name);
  expect(purged).toEqual([]);
  // What is cached from here on was read while it was attached; now it is detached.
  await check(look(root));
  expect(purged).toEqual(['event']);
});

it('a partition that a look shows is noticed by what looks show', async () => {
  const { check, name, purged } = await watch();
  await check(look(root, partition), name);
  expect(purged.splice(0)).toEqual(['event']);
  await check(look(root, partition));
  expect(purged).toEqual([]);
  await check(look(root));
  expect(purged).toEqual(['event']);
});

it('what the stream named is not forgotten when a look fails', async () => {
  const { check, name, purged } = await watch();
  name();
  await expect(check(new Error('connection lost'))).rejects.toThrow('connection lost');
  await check(look(root));
  expect(purged).toEqual(['event']);
});
