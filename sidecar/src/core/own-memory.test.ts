import { expect, it } from 'vitest';
import { testCore, tokenOf } from '../testing/core.ts';
import { HandLoader } from '../testing/hand-loader.ts';
import { withOwnMemory } from './own-memory.ts';

it('bytes that are a view, whatever kind of array they come in, get memory of their own; others are left as they are', () => {
  const large = Buffer.from('0123456789'.repeat(1_000));
  for (const view of [large.subarray(3, 7), new Uint8Array(large.buffer, large.byteOffset + 3, 4)]) {
    const own = withOwnMemory(view);
    expect([Buffer.from(own).toString(), own.buffer.byteLength]).toEqual(['3456', 4]);
    expect(withOwnMemory(own)).toBe(own);
  }
});

it('a value in memory is no view of what it was read from', async () => {
  const loader = new HandLoader();
  const { stream, get, put, of } = testCore({ loaders: { user: loader } });
  stream.say();
  put('list', 'k', tokenOf(get('list', 'k')));
  get('user', 'k');
  await loader.end('small');
  for (const name of ['list', 'user']) expect(of(name).l1.get('k')?.body.buffer.byteLength).toBe(5);
});
