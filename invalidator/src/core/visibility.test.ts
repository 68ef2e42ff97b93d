import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VisibleClock, type Unseen } from './visibility.ts';

const transaction = (xid: number): Unseen => ({ xid, start: xid * 10, commit: xid * 10 + 8 });

describe('the visible clock', () => {
  it('stands just before the first commit that is not seen', () => {
    const clock = new VisibleClock(0);
    for (const xid of [1, 2, 3]) clock.announce(transaction(xid));
    expect(clock.visible(29)).toBe(17);
    clock.saw(clock.unseen(29), new Set([2]));
    expect(clock.visible(29)).toBe(27);
    expect(clock.confirmable(29)).toBe(20);
    clock.saw(clock.unseen(29), new Set());
    expect(clock.visible(29)).toBe(29);
    expect(clock.confirmable(29)).toBe(29);
  });

  it('asks only for transactions of the record that goes out', () => {
    const clock = new VisibleClock(0);
    for (const xid of [1, 2, 3]) clock.announce(transaction(xid));
    expect(clock.unseen(28).map(({ xid }) => xid)).toEqual([1, 2]);
  });

  it('[I3] takes what is announced while it asks for unseen', () => {
    const clock = new VisibleClock(0);
    clock.announce(transaction(1));
    const asked = clock.unseen(99);
    clock.announce(transaction(2));
    clock.saw(asked, new Set());
    expect(clock.visible(99)).toBe(27);
  });

  it('[I2] [I3] claims and confirms nothing new before a continued stream has repeated what may be unseen', () => {
    const clock = new VisibleClock(17, 38);
    expect([clock.visible(38), clock.confirmable(38)]).toEqual([17, 0]);
    clock.announce(transaction(1));
    clock.reach(18);
    expect([clock.visible(38), clock.confirmable(38)]).toEqual([17, 0]);
    clock.saw(clock.unseen(38), new Set());
    clock.announce(transaction(3));
    clock.reach(38);
    expect([clock.visible(38), clock.confirmable(38)]).toEqual([37, 30]);
  });

  it('does not ask again for what an earlier record showed as visible', () => {
    const clock = new VisibleClock(18);
    clock.announce(transaction(1));
    clock.announce(transaction(2));
    expect(clock.unseen(99).map(({ xid }) => xid)).toEqual([2]);
  });

  // The invariants of I3: nothing unseen lies at or before the visible position, and it never falls.
  it('[I3] never covers an unseen commit, never falls, and lets the slot repeat whatever is unseen', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('announce' as const) }),
      fc.record({ kind: fc.constant('see' as const), which: fc.infiniteStream(fc.boolean()), upTo: fc.nat(40) }),
      fc.record({ kind: fc.constant('publish' as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const clock = new VisibleClock(0);
        const unseen = new Map<number, Unseen>();
        let xid = 0;
        let last = 0;
        for (const each of steps) {
          if (each.kind === 'announce') {
            const announced = transaction(++xid);
            clock.announce(announced);
            unseen.set(xid, announced);
          } else if (each.kind === 'see') {
            const asked = clock.unseen(each.upTo * 10);
            const still = new Set(asked.map((one) => one.xid).filter(() => each.which.next().value));
            clock.saw(asked, still);
            for (const one of asked) if (!still.has(one.xid)) unseen.delete(one.xid);
          } else {
            const to = xid * 10 + 9;
            const visible = clock.visible(to);
            expect(visible).toBeGreaterThanOrEqual(last);
            expect(visible).toBeLessThanOrEqual(to);
            const open = [...unseen.values()];
            for (const one of open) expect(one.commit).toBeGreaterThan(visible);
            for (const one of open) expect(one.start).toBeGreaterThanOrEqual(clock.confirmable(to));
            if (open.length === 0) expect(visible).toBe(to);
            last = visible;
          }
        }
        expect(clock.count).toBe(unseen.size);
      }),
    );
  });
});
