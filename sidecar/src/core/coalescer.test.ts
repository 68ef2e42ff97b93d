import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LEASE_TTL_MS, MAX_STALENESS_MS, testCore, tokenOf, WAIT_MS, type Read } from '../testing/core.ts';

const value = (body: string, from: string) => ({
  kind: 'value',
  from,
  entry: expect.objectContaining({ body: new TextEncoder().encode(body) }) as object,
});

function live() {
  const core = testCore();
  core.stream.say();
  return core;
}

describe('several callers that miss one key', () => {
  it('one loads, the others have its value in the same tick', () => {
    const { get, put, coalescer } = live();
    const first = get('user', '1');
    const others = [get('user', '1'), get('user', '1')];
    expect(others.map(({ outcome }) => outcome)).toEqual([undefined, undefined]);
    expect(coalescer.waiting).toBe(2);
    put('user', '1', tokenOf(first), { body: 'one' });
    for (const other of others) expect(other.outcome).toEqual(value('one', 'coalesced'));
    expect(coalescer.waiting).toBe(0);
  });

  it('load on their own after the time limit, and those who come later wait for the new holder', () => {
    const { get, put, clock } = live();
    const slow = get('user', '1');
    const second = get('user', '1');
    clock.advance(WAIT_MS - 1);
    expect(second.outcome).toBeUndefined();
    clock.advance(1);
    const token = tokenOf(second);
    const third = get('user', '1');
    expect(third.outcome).toBeUndefined();
    put('user', '1', token, { body: 'second' });
    expect(third.outcome).toEqual(value('second', 'coalesced'));
    // The slow one still holds a lease of its own.
    expect(put('user', '1', tokenOf(slow)).kind).toBe('stored');
  });

  it('do not wait for a holder that has had its time', () => {
    const { get, clock } = live();
    get('user', '1');
    clock.advance(WAIT_MS);
    tokenOf(get('user', '1'));
    expect(get('user', '1').outcome).toBeUndefined();
  });

  it('hand the lease on when the fill is refused', () => {
    const { get, put, stream } = live();
    const holder = get('list', 'all');
    const [second, third] = [get('list', 'all'), get('list', 'all')];
    stream.say({ users: ['7'] });
    // A tag is named only by the fill, so until then nobody knows that it is doomed.
    expect(second.outcome).toBeUndefined();
    expect(put('list', 'all', tokenOf(holder), { tags: ['user:7'] })).toEqual({ kind: 'refused', why: 'fenced' });
    put('list', 'all', tokenOf(second), { tags: ['user:7'], body: 'fresh' });
    expect(third.outcome).toEqual(value('fresh', 'coalesced'));
  });

  it('hand the lease on at once when a change dooms the fill that is under way', () => {
    const { get, put, stream } = live();
    const holder = get('user', '1');
    const [second, third] = [get('user', '1'), get('user', '1')];
    stream.say({ users: ['1'] });
    const token = tokenOf(second);
    expect(third.outcome).toBeUndefined();
    expect(put('user', '1', tokenOf(holder), { body: 'old' })).toEqual({ kind: 'refused', why: 'fenced' });
    // The refusal of the one before does not take the lease from the one who has it now.
    expect(third.outcome).toBeUndefined();
    put('user', '1', token, { body: 'new' });
    expect(third.outcome).toEqual(value('new', 'coalesced'));
  });

  it('wait until readers of the database see the change, and then one loads', () => {
    const { get, put, stream, coalescer } = live();
    get('user', '1');
    const second = get('user', '1');
    stream.say({ users: ['1'], visible: stream.to });
    const third = get('user', '1');
    expect([second.outcome, third.outcome]).toEqual([undefined, undefined]);
    stream.say();
    put('user', '1', tokenOf(second), { body: 'new' });
    expect(third.outcome).toEqual(value('new', 'coalesced'));
    stream.say({ users: ['2'], visible: stream.to });
    const fourth = get('user', '2');
    expect(fourth.outcome).toBeUndefined();
    stream.say();
    expect([put('user', '2', tokenOf(fourth)).kind, coalescer.waiting]).toEqual(['stored', 0]);
  });

  it('load all at once where that takes long: no fill could be stored, but each can use what it loads', () => {
    const { get, put, stream, clock } = live();
    get('user', '1');
    const second = get('user', '1');
    stream.say({ users: ['1'], visible: stream.to });
    const reads = [second, get('user', '1'), get('user', '1')];
    clock.advance(50);
    const tokens = reads.map(tokenOf);
    for (const token of tokens) expect(put('user', '1', token)).toEqual({ kind: 'refused', why: 'fenced' });
    stream.say();
    expect(put('user', '1', tokenOf(get('user', '1'))).kind).toBe('stored');
  });

  it('are all told when nothing may be cached any more', () => {
    const { get, replica, coalescer } = live();
    get('user', '1');
    const second = get('user', '1');
    replica.lost();
    coalescer.settleDoomed();
    expect(second.outcome).toEqual({ kind: 'bypass', why: 'starting' });
  });

  it('are told of the stall at their time limit', () => {
    const { get, clock } = live();
    clock.advance(MAX_STALENESS_MS - 10);
    get('user', '1');
    const second = get('user', '1');
    clock.advance(WAIT_MS);
    expect(second.outcome).toEqual({ kind: 'bypass', why: 'stalled' });
    expect(get('user', '1').outcome).toEqual({ kind: 'bypass', why: 'stalled' });
  });

  it('are not more than the limits allow; the others load at once', () => {
    const core = testCore({ waiters: 3, waitersPerKey: 2 });
    core.stream.say();
    core.get('user', '1');
    core.get('user', '2');
    const waiting = [core.get('user', '1'), core.get('user', '1'), core.get('user', '2')];
    expect(waiting.map(({ outcome }) => outcome)).toEqual([undefined, undefined, undefined]);
    tokenOf(core.get('user', '1'));
    tokenOf(core.get('user', '2'));
  });

  it('leave without a trace when they go', () => {
    const { get, put, coalescer, clock } = live();
    const holder = get('user', '1');
    const gone = get('user', '1');
    coalescer.leave(gone.waiter!);
    coalescer.leave(gone.waiter!);
    expect([coalescer.waiting, clock.timers]).toEqual([0, 0]);
    put('user', '1', tokenOf(holder));
    expect(gone.settled).toBe(0);
  });

  it('are forgotten with the lease that nobody used', () => {
    const { get, of, clock, stream, leases } = live();
    for (let i = 0; i < 10; i++) get('user', `k${i}`);
    clock.advance(LEASE_TTL_MS + 1);
    stream.say();
    get('user', 'another');
    expect([of('user').flights.size, leases.size]).toEqual([1, 1]);
  });
});

describe('a caller', () => {
  it('that asks past the cache gets a lease of its own, and whoever waits gets its value too', () => {
    const { get, put } = live();
    get('user', '1');
    const waiting = get('user', '1');
    const reload = get('user', '1', 'reload');
    put('user', '1', tokenOf(reload), { body: 'reloaded' });
    expect(waiting.outcome).toEqual(value('reloaded', 'coalesced'));
    expect(get('user', '1').outcome).toEqual(value('reloaded', 'l1'));
    tokenOf(get('user', '1', 'reload'));
  });

  it('that takes only what is cached takes no lease and does not wait', () => {
    const { get } = live();
    expect(get('user', '1', 'only-cached').outcome).toEqual({ kind: 'miss', lease: undefined });
    get('user', '1');
    expect(get('user', '1', 'only-cached').outcome).toEqual({ kind: 'miss', lease: undefined });
  });
});

describe('under any interleaving', () => {
  type Step = {
    do: 'get' | 'only-cached' | 'reload' | 'leave' | 'put' | 'change' | 'beat' | 'hide' | 'wait' | 'lose';
    n: number;
  };
  const step: fc.Arbitrary<Step> = fc.record({
    do: fc.constantFrom(
      'get',
      'get',
      'get',
      'get',
      'only-cached',
      'reload',
      'leave',
      'put',
      'put',
      'put',
      'change',
      'beat',
      'beat',
      'hide',
      'wait',
      'lose',
    ),
    n: fc.nat({ max: 1000 }),
  });

  it(
    'everybody who waits is settled exactly once and in time, nobody who left is, and nothing stays behind',
    { timeout: 300_000 },
    () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
          const core = live();
          const { get, put, stream, clock, coalescer, clearance, replica, of } = core;
          const reads: Read[] = [];
          const left = new Set<Read>();
          for (const { do: action, n } of steps) {
            const key = `${n % 2}`;
            const read = reads[n % Math.max(1, reads.length)];
            if (action === 'get') reads.push(get('user', key));
            else if (action === 'only-cached' || action === 'reload') reads.push(get('user', key, action));
            else if (action === 'leave' && read?.waiter !== undefined && read.settled === 0) {
              coalescer.leave(read.waiter);
              left.add(read);
            } else if (action === 'put' && read?.outcome?.kind === 'miss') put('user', key, read.outcome.lease?.token);
            else if (action === 'change') stream.say({ users: [key] });
            else if (action === 'hide') stream.say({ users: [key], visible: stream.to });
            else if (action === 'beat') stream.say();
            else if (action === 'wait') clock.advance(n);
            else if (action === 'lose') {
              replica.lost();
              coalescer.settleDoomed();
            }
            const waiting = reads.filter((each) => each.settled === 0 && !left.has(each)).length;
            expect(coalescer.waiting).toBe(waiting);
            expect(clock.timers).toBe(waiting + clearance.waiting);
          }
          clock.advance(WAIT_MS);
          for (const each of reads) expect(each.settled).toBe(left.has(each) ? 0 : 1);
          expect([coalescer.waiting, clearance.waiting]).toEqual([0, 0]);
          clock.advance(LEASE_TTL_MS + 1);
          stream.say();
          get('user', 'another');
          expect(of('user').flights.size).toBe(1);
        }),
        { numRuns: 200 },
      );
    },
  );
});
