import type { Entry, NamespaceRules } from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import { testCore, tokenOf } from '../testing/core.ts';
import type { L2FillResult, L2Store } from './ports.ts';
import { Restamper } from './restamper.ts';

function world() {
  const core = testCore();
  core.stream.say();
  const sent: { readonly key: string; readonly entry: Entry; readonly answer: (result: L2FillResult) => void }[] = [];
  const l2 = {
    available: true,
    fill: (_: NamespaceRules, key: string, entry: Entry) =>
      new Promise<L2FillResult>((answer) => void sent.push({ key, entry, answer })),
  };
  const { coalescer, replica, clock, namespaces, stream } = core;
  const restamper = new Restamper({ l2: l2 as unknown as L2Store, coalescer, replica, clock });
  const held = (key: string, body = 'value'): Entry => {
    const outcome = core.put('user', key, tokenOf(core.get('user', key, 'reload')), { body });
    if (outcome.kind !== 'stored') throw new Error(outcome.why);
    return outcome.entry;
  };
  /** A sidecar's life, a second each: the stream goes on, and the sweep runs. */
  const live = (seconds: number): void => {
    for (let i = 0; i < seconds; i++) {
      clock.advance(1_000);
      stream.say();
      restamper.sweep(namespaces.values());
    }
  };
  return { ...core, l2, sent, restamper, held, live, user: core.of('user') };
}

describe('[I12] [I17] where there is no fence log, an entry that is held in memory', () => {
  it('is stored again as of W a minute later, in L1 too, its life no longer than before', () => {
    const { sent, held, live, replica, user, restamper } = world();
    live(1);
    const entry = { ...held('a'), expiresAtMs: Number.MAX_SAFE_INTEGER };
    user.l1.set('a', entry);
    live(60);
    expect(sent).toEqual([]);
    live(2);
    const fresh = { ...entry, asOf: replica.applied - 10 };
    expect(sent.map(({ key, entry: one }) => [key, one])).toEqual([['a', fresh]]);
    expect(user.l1.get('a')).toEqual(fresh);
    live(59);
    expect(sent.length).toBe(1);
    live(3);
    expect(sent.length).toBe(2);
    expect(restamper.results.size).toBe(0);
  });

  it('is counted by what became of it', async () => {
    const { sent, held, live, user, restamper } = world();
    user.l1.set('a', { ...held('a'), expiresAtMs: Number.MAX_SAFE_INTEGER });
    live(62);
    sent[0]?.answer('newer');
    await Promise.resolve();
    await Promise.resolve();
    expect([...restamper.results]).toEqual([['newer', 1]]);
  });

  it('is left alone while it is large, expired or not known to be valid, and while there is no backend', () => {
    const { sent, held, live, user, l2, stream, restamper, namespaces, clock } = world();
    const long = { expiresAtMs: Number.MAX_SAFE_INTEGER };
    user.l1.set('large', { ...held('large'), ...long, body: new Uint8Array(64 * 1024 + 1) });
    user.l1.set('expired', { ...held('expired'), expiresAtMs: 0 });
    live(100);
    expect(sent).toEqual([]);
    user.l1.set('good', { ...held('good'), ...long });
    l2.available = false;
    live(100);
    l2.available = true;
    clock.advance(6_000);
    restamper.sweep(namespaces.values());
    stream.say({ epoch: 2 });
    restamper.sweep(namespaces.values());
    expect(sent).toEqual([]);
  });

  it('is one of a few at a time, the last used first, and no more while nothing is answered', () => {
    const { sent, held, live, user } = world();
    for (let i = 0; i < 100; i++) user.l1.set(`k${i}`, { ...held(`k${i}`), expiresAtMs: Number.MAX_SAFE_INTEGER });
    live(61);
    expect(sent.length).toBe(32);
    expect(sent[0]?.key).toBe('k99');
    live(5);
    expect(sent.length).toBe(64);
  });
});

describe('what is used most', () => {
  const long = { expiresAtMs: Number.MAX_SAFE_INTEGER };

  it('stays what is given up last: to be stored again is no use', () => {
    const { held, live, user, sent } = world();
    for (let i = 0; i < 20; i++) user.l1.set(`k${i}`, { ...held(`k${i}`), ...long });
    const order = (): string[] => [...user.l1.recent(100)].map(([key]) => key);
    const before = order();
    live(65);
    expect([sent.length, order()]).toEqual([20, before]);
  });

  it('of one namespace does not keep others from being stored again', () => {
    const { held, live, user, of, sent, get, put } = world();
    for (let i = 0; i < 100; i++) user.l1.set(`k${i}`, { ...held(`k${i}`), ...long });
    const list = of('list');
    const outcome = put('list', 'l', tokenOf(get('list', 'l', 'reload')));
    if (outcome.kind !== 'stored') throw new Error(outcome.why);
    list.l1.set('l', { ...outcome.entry, ...long });
    live(62);
    expect(sent.map(({ key }) => key)).toContain('l');
  });
});
