import { encodeBatch, type Batch } from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import { testCore } from '../testing/core.ts';
import type { EvictionTarget } from './fenced-memory.ts';
import { SourceReplica } from './replica.ts';

const { rules } = testCore();
const covers = rules.namespaces.map(({ hash }) => hash);
const [list, user] = [rules.byName.get('list')!, rules.byName.get('user')!];

function record(more: Partial<Batch>): Uint8Array {
  const { to = 1000 } = more;
  return encodeBatch({
    source: 'main',
    epoch: 1,
    from: to - 10,
    to,
    visible: to,
    committedAtUs: 0,
    publishedAtUs: 0,
    systemId: 1n,
    timeline: 1,
    heartbeat: true,
    covers,
    commits: [],
    tables: [],
    purges: [],
    ...more,
  });
}

function started() {
  const core = testCore();
  const { replica, of } = core;
  const flushes = (): number => of('user').counters.evictedByFlush;
  replica.observe(record({}));
  replica.heard(core.clock.monotonicMs());
  const cacheOne = (): void => {
    const { epoch, visible: asOf } = replica;
    core.leases.grant({ token: 't', namespace: of('user').rules!, key: 'k', epoch, asOf }, core.clock.monotonicMs());
    expect(core.put('user', 'k', 't').kind).toBe('stored');
  };
  return { ...core, flushes, cacheOne };
}

describe('[I9] the start', () => {
  it('knows nothing and serves nothing before the first record', () => {
    const { replica, clock } = testCore();
    expect([replica.horizon, replica.state(clock.monotonicMs())]).toEqual([Number.POSITIVE_INFINITY, 'starting']);
  });

  it('begins at the newest record: H = W = to, V as the record says', () => {
    const { replica } = testCore();
    expect(replica.observe(record({ to: 2000, visible: 1900 }))).toBe('started');
    expect([replica.horizon, replica.applied, replica.visible]).toEqual([2000, 2000, 1900]);
  });

  it('is not over before the feed was heard', () => {
    const { replica, clock } = testCore();
    replica.observe(record({}));
    expect(replica.state(clock.monotonicMs())).toBe('starting');
    replica.heard(clock.monotonicMs());
    expect(replica.state(clock.monotonicMs())).toBe('live');
  });
});

it('[I9] stalls when no request that was sent within the allowed time brought a record', () => {
  const { replica, clock } = started();
  clock.advance(5_000);
  expect(replica.state(clock.monotonicMs())).toBe('live');
  clock.advance(1);
  expect(replica.state(clock.monotonicMs())).toBe('stalled');
  // An old answer that was found in the socket after a sleep says nothing about now.
  replica.heard(clock.monotonicMs() - 5_001);
  expect(replica.state(clock.monotonicMs())).toBe('stalled');
  replica.heard(clock.monotonicMs());
  expect(replica.state(clock.monotonicMs())).toBe('live');
});

describe('flushes everything', () => {
  const flushing: readonly (readonly [string, Uint8Array, string])[] = [
    ['at a gap', record({ to: 1020, from: 1010 }), 'gap'],
    ['at a new epoch', record({ to: 900, epoch: 2 }), 'new-epoch'],
    ['at bytes that are no record', new Uint8Array([1, 2, 3]), 'unreadable'],
    ['at a record without a value', new Uint8Array(0), 'unreadable'],
    ['at a damaged record', record({ to: 1010 }).fill(0, 4, 5), 'unreadable'],
  ];

  it.each(flushing)('%s', (_name, bytes, observed) => {
    const { replica, cacheOne, of, flushes } = started();
    cacheOne();
    expect(of('user').l1.entries).toBe(1);
    expect(replica.observe(bytes)).toBe(observed);
    expect([of('user').l1.entries, flushes()]).toEqual([0, 1]);
  });

  it('when the reader lost its place, and answers misses until a record starts it again', () => {
    const { replica, cacheOne, of, clock } = started();
    cacheOne();
    replica.lost();
    expect([of('user').l1.entries, replica.horizon, replica.state(clock.monotonicMs())]).toEqual([
      0,
      Number.POSITIVE_INFINITY,
      'starting',
    ]);
    expect(replica.observe(record({ to: 3000 }))).toBe('started');
    expect([replica.horizon, replica.state(clock.monotonicMs())]).toEqual([3000, 'live']);
  });
});

describe('[I4] the stream goes back within an epoch (Kafka lost what it had acknowledged)', () => {
  it('and nothing that was loaded before the newest applied position is stored', () => {
    const { replica } = started();
    replica.observe(record({ from: 1000, to: 1100 }));
    replica.lost();
    expect(replica.observe(record({ from: 1010, to: 1020 }))).toBe('started');
    expect([replica.applied, replica.horizon]).toEqual([1020, 1100]);
    replica.observe(record({ from: 1020, to: 1200 }));
    expect([replica.applied, replica.horizon]).toEqual([1200, 1100]);
  });

  it('and a later epoch has nothing to do with it', () => {
    const { replica } = started();
    replica.lost();
    replica.observe(record({ epoch: 2, from: 0, to: 20 }));
    expect([replica.applied, replica.horizon]).toEqual([20, 20]);
  });
});

it('[I10] does not begin with a record of an older epoch either', () => {
  const { replica } = started();
  replica.observe(record({ epoch: 2 }));
  replica.lost();
  expect(replica.observe(record({ epoch: 1, to: 2000 }))).toBe('stale-epoch');
  expect(replica.horizon).toBe(Number.POSITIVE_INFINITY);
});

it('[I10] ignores records of an older epoch', () => {
  const { replica, cacheOne, of } = started();
  replica.observe(record({ to: 500, epoch: 3 }));
  cacheOne();
  expect(replica.observe(record({ to: 2000, from: 1000, epoch: 2 }))).toBe('stale-epoch');
  expect([replica.applied, of('user').l1.entries]).toEqual([500, 1]);
});

it('[I3] learns of visibility from duplicates, but never beyond what was applied', () => {
  const { replica } = testCore();
  replica.observe(record({ visible: 900 }));
  expect(replica.observe(record({ visible: 950 }))).toBe('duplicate');
  expect(replica.visible).toBe(950);
  replica.observe(record({ visible: 920 }));
  expect(replica.visible).toBe(950);
});

describe('[I8] coverage', () => {
  it('that ends or begins fences the namespace, and only that', () => {
    const { replica, cacheOne, of } = started();
    cacheOne();
    replica.observe(record({ to: 1010, covers: [user.hash] }));
    expect([replica.covers(user), replica.covers(list), of('user').l1.entries]).toEqual([true, false, 1]);
    replica.observe(record({ to: 1020, covers: [list.hash] }));
    expect([replica.covers(user), replica.covers(list), of('user').l1.entries]).toEqual([false, true, 0]);
    replica.observe(record({ to: 1030 }));
    expect(replica.newestFence(user, 'k', [])).toBe(1030);
    expect(replica.newestFence(list, 'k', [])).toBe(1020);
  });

  it('is learned when it is told without anything having happened', () => {
    const { replica } = started();
    expect(replica.observe(record({ from: 1000, to: 1000, covers: [] }))).toBe('duplicate');
    expect([replica.covers(user), replica.covers(list)]).toEqual([false, false]);
    replica.observe(record({ from: 1000, to: 1000 }));
    expect(replica.covers(user)).toBe(true);
    // A replay of what was applied long ago tells of coverage long ago.
    replica.observe(record({ from: 980, to: 990, covers: [] }));
    expect(replica.covers(user)).toBe(true);
  });
});

it('flushes the namespaces of a table whose changes cannot be read, and counts', () => {
  const { replica, cacheOne, of } = started();
  cacheOne();
  replica.observe(
    record({
      to: 1010,
      commits: [1005],
      tables: [{ schema: 'public', table: 'users', changes: new Uint8Array([255]) }],
    }),
  );
  expect([of('user').l1.entries, replica.unreadableBlocks, replica.newestFence(user, 'k', [])]).toEqual([0, 1, 1010]);
});

describe('marks', () => {
  const marked = (more: Partial<Batch>): Uint8Array =>
    record({
      commits: [(more.to ?? 1000) - 7, (more.to ?? 1000) - 5],
      marks: [
        { commit: 1, text: 'write:b' },
        { commit: 0, text: 'write:a' },
      ],
      purges: [{ commit: 0, namespace: 'user', keys: ['k'], tags: [], all: false }],
      ...more,
    });

  function told() {
    const heard: string[] = [];
    const evict: EvictionTarget = {
      mark: (text, lsn) => heard.push(`${text}@${lsn}`),
      key: (_, key, lsn) => (heard.push(`${key}@${lsn}`), 0),
      tag: () => 0,
      prefix: () => 0,
      namespace: ({ name }) => heard.push(`${name} flushed`),
    };
    const replica = new SourceReplica({ rules, evict, maxStalenessMs: 5_000 });
    replica.observe(record({}));
    heard.length = 0;
    return { replica, heard };
  }

  it('are told with their commit, before anything that their record evicts', () => {
    const { replica, heard } = told();
    replica.observe(marked({ to: 1010, covers: [user.hash] }));
    expect(heard).toEqual(['write:b@1005', 'write:a@1003', 'list flushed', 'k@1003']);
  });

  it.each<[string, Partial<Batch>]>([
    ['that is repeated', { to: 1000 }],
    ['beyond a gap', { to: 1030, from: 1020 }],
    ['that begins an epoch', { to: 1010, epoch: 2 }],
    ['of an older epoch', { to: 1010, epoch: 0 }],
  ])('of a record %s are not told', (_, more) => {
    const { replica, heard } = told();
    replica.observe(marked(more));
    expect(heard.filter((text) => text.startsWith('write:'))).toEqual([]);
  });

  it('that point to no commit are not told', () => {
    const { replica, heard } = told();
    replica.observe(marked({ to: 1010, marks: [{ commit: 9, text: 'write:c' }], purges: [] }));
    expect(heard).toEqual([]);
  });
});
