import { beforeEach, describe, expect, it } from 'vitest';
import { testCore, WAIT_MS, type TestCore } from '../testing/core.ts';
import type { Loaded } from './ports.ts';

/** Loads end when the test says so. */
const open: { readonly key: string; readonly end: () => void }[] = [];
const begun: string[] = [];
const loader = {
  handles: () => true,
  load: ({ key }: { key: string }): Promise<Loaded> => {
    begun.push(key);
    return new Promise((resolve) => {
      const value: Loaded = { kind: 'value', body: Buffer.from(key), contentType: 'text/plain', tags: [] };
      open.push({ key, end: () => resolve(value) });
    });
  },
};

async function endAll(): Promise<void> {
  do {
    for (const { end } of open.splice(0)) end();
    for (let i = 0; i < 10; i += 1) await Promise.resolve();
  } while (open.length > 0);
}

const FAILED: Loaded = { kind: 'failed', why: 'error', detail: 'it broke' };
const LOAD = { sql: 'select 1 where $1 is not null' };
let core: TestCore;
beforeEach(async () => {
  begun.length = 0;
  core = testCore({
    waiters: 100,
    loaders: { user: loader },
    l1Bytes: '8MiB',
    user: { load: LOAD, refresh: { ahead: 40 } },
  });
  core.stream.say();
  for (let i = 0; i < 60; i += 1) {
    core.get('user', `${i}`);
    await endAll();
    // Each is read less often than the one before.
    for (let n = 0; n < 60 - i; n += 1) core.of('user').hot.sample(`${i}`);
  }
  begun.length = 0;
});

describe('of the keys that a change evicts', () => {
  it('no more are loaded at a time where loads take longer than callers wait', async () => {
    core.stream.say({ purges: [{ namespace: 'user', keys: [], tags: [], all: true }] });
    expect(begun).toHaveLength(16);
    core.clock.advance(2 * WAIT_MS);
    core.stream.say();
    expect([begun.length, core.coalescer.waiting]).toEqual([16, 16]);
    await endAll();
    expect([begun.length, core.coalescer.waiting, core.of('user').flights.size]).toEqual([40, 0, 0]);
  });

  it('those that cannot be loaded at the moment cost no more than a look, however many they are', async () => {
    const failing = { handles: () => true, load: () => Promise.resolve(FAILED) };
    core = testCore({ loaders: { user: failing }, user: { load: LOAD, refresh: { ahead: 1_000 } } });
    core.stream.say();
    for (let i = 0; i < 1_000; i += 1) {
      core.of('user').hot.sample(`${i}`);
      core.get('user', `${i}`);
      await endAll();
    }
    core.stream.say({ purges: [{ namespace: 'user', keys: [], tags: [], all: true }] });
    expect([core.coalescer.waiting, core.of('user').flights.size]).toEqual([0, 0]);
  });

  it('the hottest are loaded before anybody asks, and once', async () => {
    core.stream.say({ users: ['0', '59'] });
    expect(begun).toEqual(['0']);
    const read = core.get('user', '0');
    expect(read.outcome).toBeUndefined();
    await endAll();
    expect(read.outcome).toMatchObject({ kind: 'value', from: 'loaded' });
    expect(core.get('user', '0').outcome).toMatchObject({ from: 'l1' });
    expect([begun, core.ahead.begun]).toEqual([['0'], 1]);
  });

  it('a bounded number is loaded at once, the others as those end', async () => {
    core.stream.say({ users: Array.from({ length: 60 }, (_, i) => `${i}`) });
    expect(begun.length).toBe(16);
    await endAll();
    expect(begun.length).toBe(40);
    expect(core.of('user').l1.entries).toBe(40);
    expect([core.coalescer.waiting, core.of('user').flights.size]).toEqual([0, 0]);
  });

  it('those are loaded later whose change readers of the database do not see yet', async () => {
    core.stream.say({ users: ['0'], visible: core.stream.to });
    expect(begun).toEqual([]);
    core.stream.say();
    expect(begun).toEqual(['0']);
    await endAll();
  });

  it('none is loaded where too many wait already, and later ones are', async () => {
    const few = testCore({ waiters: 1, loaders: { user: loader }, user: { load: LOAD, refresh: { ahead: 40 } } });
    few.stream.say();
    for (const key of ['0', '1']) few.of('user').hot.sample(key);
    const waiting = few.get('user', '9');
    few.stream.say({ users: ['0', '1'] });
    expect([begun, few.ahead.begun]).toEqual([['9'], 0]);
    await endAll();
    expect(waiting.settled).toBe(1);
    few.stream.say({ users: ['0'] });
    expect(few.ahead.begun).toBe(1);
    await endAll();
  });

  it('none is loaded while nothing may be cached', async () => {
    core.replica.lost();
    core.coalescer.settleDoomed();
    expect(begun).toEqual([]);
    await endAll();
  });
});
