import { describe, expect, it } from 'vitest';
import { testCore } from '../testing/core.ts';
import type { Passed } from './flights.ts';
import type { Namespace } from './namespace.ts';
import { Passing } from './passing.ts';

const FAILED: Passed = { kind: 'failed', why: 'error', detail: 'it broke' };

/** Loads that end when the test says so. */
function hand() {
  const open: ((passed: Passed) => void)[] = [];
  const passing = new Passing({ alone: () => new Promise((end) => open.push(end)) });
  const namespace = {} as Namespace;
  const ended: string[] = [];
  return {
    open,
    ended,
    read: (name: string, key = 'k') => void passing.read(namespace, key).then(() => ended.push(name)),
    end: async () => {
      open.shift()?.(FAILED);
      for (let i = 0; i < 5; i += 1) await Promise.resolve();
    },
  };
}

describe('callers of one key whom the cache cannot answer', () => {
  it('get a load that began after they asked, and share it', async () => {
    const { open, ended, read, end } = hand();
    read('first');
    read('second');
    read('third');
    expect(open.length).toBe(1);
    await end();
    expect([ended, open.length]).toEqual([['first'], 1]);
    read('fourth');
    expect(open.length).toBe(1);
    await end();
    expect([ended, open.length]).toEqual([['first', 'second', 'third'], 1]);
    await end();
    expect([ended, open.length]).toEqual([['first', 'second', 'third', 'fourth'], 0]);
  });

  it('do not wait for those of another', () => {
    const { open, read } = hand();
    read('first', 'a');
    read('second', 'b');
    expect(open.length).toBe(2);
  });
});

it('is for namespaces that the sidecar loads, and never where a write waits for the database', () => {
  const loader = { handles: () => true, load: () => Promise.resolve(FAILED) };
  const { of, passing } = testCore({ loaders: { user: loader } });
  const isFor = (name: string, why: Parameters<typeof passing.isFor>[2]): boolean => passing.isFor(of(name), '1', why);
  expect([isFor('user', 'stalled'), isFor('user', 'behind'), isFor('user', 'pending')]).toEqual([true, true, false]);
  expect(isFor('list', 'stalled')).toBe(false);
});
