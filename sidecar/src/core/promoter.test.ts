import type { Entry, Lsn, NamespaceRules } from '@tidemark/proto';
import type { LogHeader } from '@tidemark/proto/redis';
import { describe, expect, it } from 'vitest';
import { testCore, tokenOf } from '../testing/core.ts';
import type { L2FillResult, L2Found, L2Store } from './ports.ts';
import { Promoter } from './promoter.ts';

interface Call {
  readonly kind: 'promote' | 'fill';
  readonly key: string;
  readonly asOf: Lsn;
  readonly expiresAtMs: number;
  readonly answer: (result: L2FillResult) => Promise<void>;
}

const seen = (entry: Entry): L2Found => ({ entry, context: { log: undefined, pair: undefined }, generation: 'g' });

function world() {
  const core = testCore();
  core.stream.say();
  const calls: Call[] = [];
  const record = (kind: Call['kind'], key: string, { asOf, expiresAtMs }: Entry): Promise<L2FillResult> =>
    new Promise((resolve) => {
      const answer = async (result: L2FillResult): Promise<void> => {
        resolve(result);
        await Promise.resolve();
        await Promise.resolve();
      };
      calls.push({ kind, key, asOf, expiresAtMs, answer });
    });
  const l2 = {
    available: true,
    promote: (_: NamespaceRules, key: string, { entry }: L2Found, to: Lsn) =>
      record('promote', key, { ...entry!, asOf: to }),
    fill: (_: NamespaceRules, key: string, entry: Entry) => record('fill', key, entry),
  } as unknown as L2Store;
  const { coalescer, replica, clock } = core;
  const promoter = new Promoter({ l2, coalescer, replica, clock });
  const held = (key: string, tags: readonly string[] = ['user:7']): Entry => {
    const outcome = core.put('list', key, tokenOf(core.get('list', key, 'reload')), { tags });
    if (outcome.kind !== 'stored') throw new Error(outcome.why);
    return outcome.entry;
  };
  const log = (tagFrom: Lsn, to: Lsn, epoch = 1): LogHeader => ({
    ...{ generation: 'g', adoption: 'a', epoch, from: tagFrom, tagFrom, to, visible: to, offset: '1', digest: 'd' },
    parts: '-',
  });
  return { ...core, calls, promoter, held, log, list: core.of('list') };
}

describe('[I12] an entry that was read from Redis', () => {
  it('is promoted where it stands in the older half of what the log remembers, and says so in L1 then', async () => {
    const { promoter, calls, held, list, log } = world();
    const entry = held('a');
    promoter.wasRead(list, 'a', { found: seen(entry), log: log(entry.asOf - 10, entry.asOf + 10) });
    promoter.wasRead(list, 'a', { found: seen(entry), log: log(entry.asOf + 1, entry.asOf + 100) });
    expect(calls).toEqual([]);
    promoter.wasRead(list, 'a', { found: seen(entry), log: log(entry.asOf - 10, entry.asOf + 100) });
    expect(calls).toMatchObject([
      { kind: 'promote', key: 'a', asOf: entry.asOf + 100, expiresAtMs: entry.expiresAtMs },
    ]);
    await calls[0]!.answer('ok');
    expect(list.l1.get('a')).toEqual({ ...entry, asOf: entry.asOf + 100 });
    expect(promoter.results.get('read:ok')).toBe(1);
  });

  it('is not put back into L1 after it was evicted, nor changed where it was not promoted', async () => {
    const { promoter, calls, held, list, log, stream } = world();
    const [gone, refused] = [held('gone'), held('refused', ['user:8'])];
    for (const [key, entry] of [
      ['gone', gone],
      ['refused', refused],
    ] as const)
      promoter.wasRead(list, key, { found: seen(entry), log: log(0, 1e9) });
    stream.say({ users: ['7'] });
    await calls[0]!.answer('ok');
    await calls[1]!.answer('fenced');
    expect([list.l1.get('gone'), list.l1.get('refused')]).toEqual([undefined, refused]);
  });

  it('without tags needs no promotion; one that is large is left alone', () => {
    const { promoter, calls, held, list, log } = world();
    promoter.wasRead(list, 'a', { found: seen(held('a', [])), log: log(0, 1e9) });
    const large = { ...seen(held('b')), stored: new Uint8Array(64 * 1024 + 1) };
    promoter.wasRead(list, 'b', { found: large, log: log(0, 1e9) });
    expect(calls).toEqual([]);
  });

  it('waits for its turn: so many at once, so many a second', async () => {
    const { promoter, calls, held, list, log, clock } = world();
    const entry = held('a');
    const read = (): void => promoter.wasRead(list, 'a', { found: seen(entry), log: log(0, 1e9) });
    for (let i = 0; i < 100; i++) read();
    expect(calls.length).toBe(16);
    let answered = 0;
    for (let i = 0; i < 300; i++) {
      await calls[answered]?.answer('changed');
      answered = Math.min(answered + 1, calls.length);
      read();
    }
    expect(calls.length).toBe(200);
    clock.advance(1000);
    read();
    expect(calls.length).toBe(201);
  });
});

describe('[I12] an entry that is used from L1 only', () => {
  it('is shared again as of W when the log is about to forget it or has, its life no longer than before', async () => {
    const { promoter, calls, held, log, namespaces, stream, replica, list } = world();
    const entry = held('a');
    held('untagged', []);
    stream.say();
    const header = log(entry.asOf + 1, replica.applied + 1);
    promoter.sweep(namespaces.values(), header);
    expect(calls).toMatchObject([{ kind: 'fill', key: 'a', asOf: replica.applied, expiresAtMs: entry.expiresAtMs }]);
    expect(list.l1.get('a')).toEqual({ ...entry, asOf: replica.applied });
    await calls[0]!.answer('ok');
    expect(promoter.results.get('held:ok')).toBe(1);
    promoter.sweep(namespaces.values(), header);
    expect(calls.length).toBe(1);
  });

  it('is left alone while nothing is known to be valid, and under the log of another epoch', () => {
    const { promoter, calls, held, log, namespaces, stream, replica, clock } = world();
    held('a');
    stream.say();
    promoter.sweep(namespaces.values(), log(replica.applied, replica.applied, 2));
    clock.advance(6_000);
    promoter.sweep(namespaces.values(), log(replica.applied, replica.applied));
    expect(calls).toEqual([]);
  });

  it('is one of a few at a time', () => {
    const { promoter, calls, held, log, namespaces, stream, replica } = world();
    for (let i = 0; i < 100; i++) held(`k${i}`);
    stream.say();
    promoter.sweep(namespaces.values(), log(replica.applied, replica.applied));
    expect(calls.length).toBe(16);
    expect(calls[0]!.key).toBe('k99');
  });
});

it('[I12] what is shared again is no use of it, and no namespace waits for another that has much of it', async () => {
  const { promoter, calls, held, log, stream, replica, list, get, put, of } = world();
  for (let i = 0; i < 100; i++) held(`k${i}`);
  put('user', 'u', tokenOf(get('user', 'u', 'reload')), { tags: ['user:8'] });
  stream.say();
  const order = (): string[] => [...list.l1.recent(1_000)].map(([key]) => key);
  const before = order();
  const sweep = (): void => promoter.sweep([list, of('user')], log(replica.applied, replica.applied));
  sweep();
  expect(calls.map(({ key }) => key)).not.toContain('u');
  for (const call of calls) await call.answer('ok');
  sweep();
  expect(calls.map(({ key }) => key)).toContain('u');
  expect(order()).toEqual(before);
});
