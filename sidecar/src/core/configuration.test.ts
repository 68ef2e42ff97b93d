import type { Entry, TidemarkConfig } from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import { testCore, tokenOf } from '../testing/core.ts';
import { HandL2 } from '../testing/hand-l2.ts';
import { BatchReader, type BatchAnswer } from './batch-reader.ts';
import type { L2Found } from './ports.ts';
import { Positions } from './positions.ts';
import { Promoter } from './promoter.ts';

type Edit = (namespaces: TidemarkConfig['namespaces']) => TidemarkConfig['namespaces'];

/** A longer TTL: other settings, the same rules. */
const longer =
  (name: string): Edit =>
  (namespaces) => {
    const before = namespaces[name] as TidemarkConfig['namespaces'][string];
    return { ...namespaces, [name]: { ...before, ttl: { ...before.ttl, hard: 90_000 } } };
  };
const without =
  (name: string): Edit =>
  (namespaces) =>
    Object.fromEntries(Object.entries(namespaces).filter(([each]) => each !== name));

function live() {
  const l2 = new HandL2();
  l2.available = false;
  const core = testCore({ l2 });
  core.stream.say();
  let document = core.config;
  const take = (edit: Edit) => {
    document = { ...document, namespaces: edit(document.namespaces) };
    return core.configuration.take(document);
  };
  const cached = (name: string, key: string, tags: readonly string[] = []): Entry => {
    const outcome = core.put(name, key, name === 'plain' ? undefined : tokenOf(core.get(name, key, 'reload')), {
      tags,
    });
    if (outcome.kind !== 'stored') throw new Error(outcome.why);
    return outcome.entry;
  };
  /** What Redis answers for an entry whose log stands at `to`. */
  const found = (entry: Entry, to: number): L2Found => ({
    entry,
    generation: 'g',
    context: { log: `1 g a 1 0 0 ${to} ${to} 1 d -`, pair: 'a 0 0' },
  });
  return { ...core, l2, take, cached, found };
}

describe('[I16] a document', () => {
  it('leaves namespaces as they are whose settings are, and begins the others anew', () => {
    const { take, cached, of, namespaces } = live();
    for (const name of ['user', 'list', 'plain']) cached(name, '1');
    const [user, list] = [of('user'), of('list')];
    const hits = (list.counters.hitsL1 = 7);
    expect(take((all) => ({ ...longer('list')(all), above: all['user'] as (typeof all)['user'] }))).toEqual({
      isNew: true,
      kept: ['user', 'plain'],
      added: ['above'],
      changed: ['list'],
      removed: [],
    });
    expect(of('user')).toBe(user);
    expect(of('list')).not.toBe(list);
    expect([user, of('list'), of('plain'), of('above'), list].map(({ l1 }) => l1.entries)).toEqual([1, 0, 1, 0, 0]);
    expect(of('list').counters.hitsL1).toBe(hits);
    expect(take(without('list'))).toMatchObject({ removed: ['list'], kept: ['user', 'plain', 'above'] });
    expect([...namespaces.keys()]).toEqual(['user', 'plain', 'above']);
  });

  it('that says the same changes nothing, not even a lease', () => {
    const { take, get, put, replica } = live();
    const read = get('user', '1');
    const { horizon } = replica;
    expect(take((all) => structuredClone(all))).toMatchObject({ isNew: false });
    expect(replica.horizon).toBe(horizon);
    expect(put('user', '1', tokenOf(read)).kind).toBe('stored');
  });

  it('keeps what is served under evictions, although indexes have moved', () => {
    const { take, cached, of, stream, rules } = live();
    cached('user', '1');
    cached('list', 'all', ['user:1']);
    take((all) => ({ above: all['user'] as (typeof all)['user'], ...all }));
    expect(of('user').rules?.index).not.toBe(rules.byName.get('user')?.index);
    stream.say({ users: ['1'] });
    expect([of('user').l1.entries, of('list').l1.entries]).toEqual([0, 0]);
  });

  it('takes back every lease, and raises H to W', () => {
    const { take, get, put, replica, stream, of } = live();
    const before = [get('user', '1'), get('list', '1')].map(tokenOf);
    stream.say({ visible: stream.to });
    take(longer('list'));
    expect(replica.horizon).toBe(replica.applied);
    expect(put('user', '1', before[0])).toEqual({ kind: 'refused', why: 'expired' });
    expect(put('list', '1', before[1])).toEqual({ kind: 'refused', why: 'expired' });
    // V is behind H: what is loaded now may lack a change whose fence was forgotten.
    expect(replica.visible).toBeLessThan(replica.horizon);
    expect(put('user', '1', tokenOf(get('user', '1', 'reload')))).toEqual({ kind: 'refused', why: 'fenced' });
    stream.say();
    expect(put('user', '1', tokenOf(get('user', '1', 'reload'))).kind).toBe('stored');
    expect(of('user').l1.entries).toBe(1);
  });

  it('caches a namespace only once the publisher covers it', () => {
    const { take, get, replica, stream } = live();
    take((all) => ({ ...all, more: { ...(all['user'] as (typeof all)['user']), source: 'main' } }));
    expect(get('more', '1').outcome).toEqual({ kind: 'bypass', why: 'uncovered' });
    expect(get('user', '1').outcome?.kind).toBe('miss');
    expect(replica.covers({ index: -1, name: '', hash: 0n, hashHex: '' })).toBeFalsy();
    stream.say();
    expect(get('more', '1').outcome).toEqual({ kind: 'bypass', why: 'uncovered' });
  });
});

describe('[I16] what is under way when a document comes', () => {
  it('callers that wait in a namespace that is gone are sent away, in others the first of them loads', () => {
    const { take, get, put } = live();
    for (const name of ['user', 'list']) get(name, '1');
    const [inUser, alsoInUser, inList] = [get('user', '1'), get('user', '1'), get('list', '1')];
    take(without('list'));
    expect(inList.outcome).toEqual({ kind: 'bypass', why: 'uncovered' });
    expect(alsoInUser.outcome).toBeUndefined();
    expect(put('user', '1', tokenOf(inUser)).kind).toBe('stored');
    expect(alsoInUser.outcome).toMatchObject({ kind: 'value', from: 'coalesced' });
    expect([inUser, alsoInUser, inList].map(({ settled }) => settled)).toEqual([1, 1, 1]);
  });

  it('what Redis answers for a namespace that has changed is neither stored nor served', async () => {
    const { take, get, cached, found, l2, of, clock } = live();
    const entry = cached('list', '1');
    of('list').l1.clear();
    l2.available = true;
    const plain = cached('plain', '1');
    of('plain').l1.clear();
    const reads = [get('list', '1'), get('plain', '1')];
    take((all) => longer('plain')(longer('list')(all)));
    await l2.reads[0]!.answer(found(entry, entry.asOf + 1000));
    l2.plainReads[0]!(plain);
    await Promise.resolve();
    for (const read of reads) expect([read.outcome?.kind, read.settled]).toEqual(['bypass', 1]);
    expect([of('list').l1.entries, of('plain').l1.entries]).toEqual([0, 0]);
    // Nobody hears of it a second time.
    clock.advance(10_000);
    for (const read of reads) expect(read.settled).toBe(1);
  });

  it.each([
    ['served where its log has reached the new H', 0, 'value'],
    ['a miss where it has not', -1, 'miss'],
  ])('what Redis answers for one that goes on is %s', async (_title, behind, kind) => {
    const { take, get, cached, found, l2, of, replica, stream } = live();
    const entry = cached('user', '1');
    of('user').l1.clear();
    l2.available = true;
    const read = get('user', '1');
    stream.say();
    take(longer('list'));
    await l2.reads[0]!.answer(found(entry, replica.horizon + behind));
    expect(read.outcome?.kind).toBe(kind);
    expect(of('user').l1.entries).toBe(kind === 'value' ? 1 : 0);
  });

  it('a fill whose body arrives later is refused, with a lease or without one', () => {
    const { take, get, filler, of, l2 } = live();
    l2.available = true;
    const rest = { tags: [], absent: false, contentType: '', etag: '', body: new Uint8Array(1) };
    const [list, plain] = [of('list'), of('plain')];
    const before = l2.filled.length;
    take((all) => longer('plain')(longer('list')(all)));
    l2.available = false;
    const token = tokenOf(get('list', '1', 'reload'));
    l2.available = true;
    expect(filler.fill({ namespace: plain, key: '1', token: undefined, ...rest })).toMatchObject({ kind: 'refused' });
    // Even with a lease of the new ones.
    expect(filler.fill({ namespace: list, key: '1', token, ...rest })).toMatchObject({ kind: 'refused' });
    expect([list, plain, of('list'), of('plain')].map(({ l1 }) => l1.entries)).toEqual([0, 0, 0, 0]);
    expect(l2.filled).toHaveLength(before);
  });

  it('a snapshot is not given from values of before', () => {
    const core = live();
    const { take, cached, get, reader, passing, replica, watermark, clock, of, put } = core;
    const client = { position: () => Promise.resolve({ failed: 'nobody' }) };
    const positions = new Positions({ client, most: 1 });
    const batches = new BatchReader({ reader, passing, replica, watermark, positions, clock, timeoutMs: 1_000 });
    cached('list', '1').loadedAt = replica.applied;
    const holder = get('user', '1');
    const answers: BatchAnswer[] = [];
    const items = [
      { namespace: of('list'), key: '1' },
      { namespace: of('user'), key: '1' },
    ];
    batches.read({ items, mode: 'usual', snapshot: true, settle: (answer) => void answers.push(answer) });
    expect(answers).toEqual([]);
    take(longer('list'));
    expect(put('user', '1', tokenOf(holder)).kind).toBe('refused');
    clock.advance(2_000);
    expect(answers).toHaveLength(1);
    expect(answers[0]!.snapshot).toMatchObject({ failed: 'missing' });
    expect(answers[0]!.outcomes[0]).toEqual({ kind: 'bypass', why: 'uncovered' });
  });

  it('a promotion that was under way does not bring an entry back', async () => {
    const { take, cached, of, coalescer, replica, clock } = live();
    const gate = Promise.withResolvers<'ok'>();
    const l2 = Object.assign(new HandL2(), { promote: () => gate.promise });
    const promoter = new Promoter({ l2, coalescer, replica, clock });
    const list = of('list');
    const entry = cached('list', '1', ['user:1']);
    const { asOf } = entry;
    const header = {
      generation: 'g',
      adoption: 'a',
      epoch: 1,
      from: 0,
      visible: 0,
      offset: '1',
      digest: 'd',
      parts: '-',
    };
    const found = { entry, context: { log: undefined, pair: undefined }, generation: 'g' };
    promoter.wasRead(list, '1', { found, log: { ...header, tagFrom: asOf - 10, to: asOf + 100 } });
    take(longer('list'));
    gate.resolve('ok');
    await gate.promise;
    expect([list.l1.entries, of('list').l1.entries]).toEqual([0, 0]);
  });

  it('an entry that was stored under a longer TTL ends with the shorter one', async () => {
    const { take, get, cached, found, l2, of, clock } = live();
    const entry = cached('list', '1');
    of('list').l1.clear();
    take((all) => {
      const before = all['list'] as (typeof all)['list'] & object;
      return { ...all, list: { ...before, ttl: { ...before.ttl, hard: 5_000 } } };
    });
    l2.available = true;
    get('list', '1');
    await l2.reads[0]!.answer(found(entry, entry.asOf));
    expect(of('list').l1.get('1')?.expiresAtMs).toBe(entry.storedAtMs + 5_000);
    of('list').l1.clear();
    clock.advance(5_000);
    const late = get('list', '1', 'only-cached');
    await l2.reads[1]!.answer(found(entry, entry.asOf));
    expect(late.outcome?.kind).not.toBe('value');
  });
});
