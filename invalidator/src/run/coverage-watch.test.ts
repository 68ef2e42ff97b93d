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
  return { coverage: await opening, purged, show };
}

it('a partition that is detached before a look shows it is noticed by what the stream told', async () => {
  const { coverage, purged, show } = await watch();
  coverage.noteMember(PARTITION, ['public.events']);
  const checking = coverage.check();
  show(look(root));
  await checking;
  expect(purged).toEqual(['event']);
});

// Such a look is no proof that the partition is gone: it may have been attached since, and its detachment is still to come.
it('a partition that the stream names during a look is held against the next one', async () => {
  const { coverage, purged, show } = await watch();
  const first = coverage.check();
  coverage.noteMember(PARTITION, ['public.events']);
  show(look(root));
  await first;
  expect(purged).toEqual([]);
  // What is cached from here on was read while it was attached; now it is detached.
  const second = coverage.check();
  show(look(root));
  await second;
  expect(purged).toEqual(['event']);
});

it('a partition that a look shows is noticed by what looks show', async () => {
  const { coverage, purged, show } = await watch();
  const first = coverage.check();
  coverage.noteMember(PARTITION, ['public.events']);
  show(look(root, partition));
  await first;
  expect(purged.splice(0)).toEqual(['event']);
  const second = coverage.check();
  show(look(root, partition));
  await second;
  expect(purged).toEqual([]);
  const third = coverage.check();
  show(look(root));
  await third;
  expect(purged).toEqual(['event']);
});

it('what the stream named is not forgotten when a look fails', async () => {
  const { coverage, purged, show } = await watch();
  coverage.noteMember(PARTITION, ['public.events']);
  const failing = coverage.check();
  show(new Error('connection lost'));
  await expect(failing).rejects.toThrow('connection lost');
  const second = coverage.check();
  show(look(root));
  await second;
  expect(purged).toEqual(['event']);
});
