import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CoverageClock } from './coverage-clock.ts';

const A = 1n;
const B = 2n;
const check = (served: bigint[], oldestXid: bigint, insertLsn: number) => ({
  served: new Set(served),
  oldestXid,
  insertLsn,
});

describe('what records may claim', () => {
  it('for a new slot is everything that is served', () => {
    const clock = new CoverageClock({ served: new Set([B, A]), proven: 'all', start: 100 });
    expect(clock.coversAt(100)).toEqual([A, B]);
    expect(clock.needsXid).toBe(false);
  });

  it('for a continued stream is at first only what the record before it claimed', () => {
    const clock = new CoverageClock({ served: new Set([A]), proven: new Set([A, B]), start: 100 });
    expect(clock.coversAt(100)).toEqual([A]);
  });

  it('grows once every transaction of the time of the gain has ended, from a position after that', () => {
    const clock = new CoverageClock({ served: new Set([A, B]), proven: new Set([A]), start: 100 });
    expect([clock.needsXid, clock.waiting]).toEqual([true, 1]);
    clock.wait(50n);
    expect(clock.observe(check([A, B], 49n, 200))).toBe(false);
    expect(clock.coversAt(1000)).toEqual([A]);
    expect(clock.observe(check([A, B], 50n, 300))).toBe(true);
    expect(clock.coversAt(299)).toEqual([A]);
    expect(clock.coversAt(300)).toEqual([A, B]);
    expect(clock.waiting).toBe(0);
  });

  it('[I8] shrinks at once, and begins anew when the namespace is served again', () => {
    const clock = new CoverageClock({ served: new Set([A]), proven: 'all', start: 100 });
    expect(clock.observe(check([], 60n, 400))).toBe(true);
    expect(clock.coversAt(1000)).toEqual([]);
    expect(clock.observe(check([A], 60n, 500))).toBe(false);
    expect(clock.needsXid).toBe(true);
    clock.wait(70n);
    clock.observe(check([A], 70n, 600));
    expect(clock.coversAt(599)).toEqual([]);
    expect(clock.coversAt(600)).toEqual([A]);
  });
});

// A model of the server: a namespace is published or not; transactions write while it is the one or the other and
// commit later. Once a break was noticed, a record that claims the namespace must not miss a change.
it('[I8] never claims a namespace for a record that may miss one of its changes', () => {
  const step = fc.oneof(
    fc.constantFrom('publish' as const, 'withdraw' as const, 'open' as const, 'check' as const, 'check' as const),
    fc.record({ commit: fc.nat(3) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      let [published, membership, seenMembership] = [true, 0, 0];
      let lsn = 10;
      let xid = 100n;
      const open: { xid: bigint; missed: boolean }[] = [];
      const missedCommits: number[] = [];
      const clock = new CoverageClock({ served: new Set([A]), proven: 'all', start: 10 });
      for (const each of steps) {
        lsn += 10;
        if (each === 'publish' && !published) [published, membership] = [true, membership + 1];
        else if (each === 'withdraw') published = false;
        else if (each === 'open') open.push({ xid: ++xid, missed: !published });
        else if (each === 'check') {
          const oldestXid = open.reduce((least, one) => (one.xid < least ? one.xid : least), xid + 1n);
          const served = new Set(published && membership === seenMembership ? [A] : []);
          seenMembership = membership;
          clock.observe({ served, oldestXid, insertLsn: lsn });
          if (clock.needsXid) clock.wait(++xid);
          for (const commit of missedCommits) expect(clock.coversAt(commit - 1)).toEqual([]);
        } else if (typeof each === 'object') {
          const [committed] = open.splice(each.commit, 1);
          if (committed?.missed) missedCommits.push(lsn);
        }
      }
    }),
    { numRuns: 1000 },
  );
});
