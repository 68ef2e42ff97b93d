import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decideStart, type EpochReason, type LastRecord, type ServerIdentity, type SlotFacts } from './start.ts';
import type { TimelineEnd, TimelineHistory } from './timeline.ts';

interface Promoted {
  readonly server: ServerIdentity;
  readonly history: TimelineHistory;
}

const server: ServerIdentity = { systemId: 7n, timeline: 1, insertLsn: 1000 };
const last: LastRecord = { epoch: 5, to: 500, visible: 490, systemId: 7n, timeline: 1 };
const slot: SlotFacts = { state: 'usable', confirmed: 480, synced: false };
const nowMs = 1_700_000_000_000;

/** The server after a promotion where the newest record ended, and after one more. */
const once: Promoted = { server: { ...server, timeline: 2 }, history: [{ timeline: 1, end: 500 }] };
const twice: Promoted = {
  server: { ...server, timeline: 4 },
  history: [
    { timeline: 1, end: 500 },
    { timeline: 2, end: 700 },
  ],
};
const never: Promoted = { server, history: [] };
const synced: SlotFacts = { ...slot, synced: true };

describe('decideStart', () => {
  it('continues where the newest record ended', () => {
    expect(decideStart({ last, server, slot, nowMs })).toEqual({
      kind: 'continue',
      epoch: 5,
      from: 500,
      visible: 490,
    });
  });

  it.each<[string, LastRecord, SlotFacts, number]>([
    ['the slot stands where the record ended', last, { ...slot, confirmed: 500 }, 500],
    ['the slot stands between visible and to: what it let go was visible', last, { ...slot, confirmed: 495 }, 495],
    ['the record ended at the newest WAL', { ...last, to: 1000, visible: 1000 }, slot, 1000],
    ['the slot came with a promotion long ago', last, synced, 490],
  ])('continues when %s', (_name, record, facts, visible) => {
    expect(decideStart({ last: record, server, slot: facts, nowMs })).toMatchObject({
      kind: 'continue',
      from: record.to,
      visible,
    });
  });

  it.each<[string, LastRecord, Promoted, number]>([
    ['at the end of the newest record', last, once, 500],
    ['after it', { ...last, to: 499 }, once, 500],
    ['twice since the newest record', last, twice, 500],
    ['once more since a record of the timeline between', { ...last, timeline: 2, to: 700 }, twice, 700],
  ])(
    '[I10] takes the slot of a promoted server over, under a new epoch: promoted %s',
    (_name, record, promoted, switchedAt) => {
      expect(decideStart({ last: record, ...promoted, slot: synced, nowMs })).toMatchObject({
        kind: 'take-over',
        epoch: nowMs,
        from: record.to,
        visible: 490,
        switchedAt,
      });
    },
  );

  it.each<[EpochReason, string, Partial<Parameters<typeof decideStart>[0]>]>([
    ['empty-topic', '', { last: undefined }],
    ['empty-topic', 'nor a slot', { last: undefined, slot: { state: 'missing' } }],
    ['unreadable-topic', '', { last: 'unreadable' }],
    ['other-server', '', { server: { ...server, systemId: 8n } }],
    ['other-server', 'that is promoted too', { ...once, server: { ...once.server, systemId: 8n }, slot: synced }],
    ['unknown-history', '', { ...once, history: { unknown: 'gone' }, slot: synced }],
    ['unknown-history', 'nobody asked for', { server: once.server, slot: synced }],
    ['other-history', 'the old primary is back', { ...never, last: { ...last, timeline: 2 }, slot: synced }],
    ['other-history', 'another branch', { ...twice, last: { ...last, timeline: 3 }, slot: synced }],
    ['commits-lost', 'by one byte', { ...once, last: { ...last, to: 501 }, slot: synced }],
    ['commits-lost', 'at the first of two promotions', { ...twice, last: { ...last, to: 600 }, slot: synced }],
    ['commits-lost', 'at the second one', { ...twice, last: { ...last, timeline: 2, to: 701 }, slot: synced }],
    ['server-went-back', '', { last: { ...last, to: 1001 } }],
    ['slot-missing', '', { slot: { state: 'missing' } }],
    ['slot-missing', 'after a promotion', { ...once, slot: { state: 'missing' } }],
    ['slot-lost', '', { slot: { state: 'lost', why: 'idle' } }],
    ['slot-lost', 'before a promotion', { ...once, slot: { state: 'lost', why: 'idle' } }],
    ['slot-not-synced', '', { ...once, slot }],
    ['slot-ahead', '', { slot: { ...slot, confirmed: 501 } }],
    ['slot-ahead', 'after a promotion', { ...once, slot: { ...synced, confirmed: 501 } }],
  ])('begins a new epoch: %s %s', (reason, _more, facts) => {
    expect(decideStart({ last, server, slot, nowMs, ...facts })).toEqual({ kind: 'new-epoch', epoch: nowMs, reason });
  });

  it('[I10] numbers a new epoch above the last one even when the clock stands behind it', () => {
    const ahead = { ...last, epoch: nowMs + 50 };
    expect(decideStart({ last: ahead, server, slot: { state: 'missing' }, nowMs })).toMatchObject({
      epoch: nowMs + 51,
    });
  });

  it('[I2] [I10] never continues with a hole, over all states and branches of history', () => {
    // A world of promotions: each timeline leaves an earlier one somewhere; WAL is named by where it was written.
    const world = fc.array(fc.record({ parent: fc.nat(), at: fc.nat(20) }), { maxLength: 5 });
    const lsn = fc.nat(20);
    fc.assert(
      fc.property(
        world,
        fc.option(
          fc.record({ epoch: fc.nat(9), to: lsn, visible: lsn, systemId: fc.bigInt(0n, 1n), timeline: fc.nat(5) }),
          { nil: undefined },
        ),
        fc.record({ systemId: fc.bigInt(0n, 1n), timeline: fc.nat(5), insertLsn: lsn, isKnown: fc.boolean() }),
        fc.oneof(
          fc.constant<SlotFacts>({ state: 'missing' }),
          fc.constant<SlotFacts>({ state: 'lost', why: '' }),
          fc
            .record({ confirmed: lsn, synced: fc.boolean() })
            .map((facts): SlotFacts => ({ state: 'usable', ...facts })),
        ),
        (switches, record, { isKnown, ...identity }, facts) => {
          const ancestors = ancestorsOf(identity.timeline, switches);
          const history = isKnown ? ancestors : { unknown: '' };
          const decision = decideStart({ last: record, server: identity, slot: facts, history, nowMs: 3 });
          if (decision.kind !== 'continue') expect(decision.epoch).toBeGreaterThan(record?.epoch ?? 0);
          if (decision.kind === 'new-epoch') return;
          if (record === undefined || facts.state !== 'usable') throw new Error('continued without a record or a slot');
          // The slot delivers everything after `from`, which lies in the history of this server.
          expect(facts.confirmed).toBeLessThanOrEqual(decision.from);
          expect(decision.from).toBe(record.to);
          expect(identity.systemId).toBe(record.systemId);
          expect(decision.from).toBeLessThanOrEqual(identity.insertLsn);
          for (let byte = 0; byte < decision.from; byte += 1)
            expect(writtenOn(byte, identity.timeline, ancestors)).toBe(
              writtenOn(byte, record.timeline, ancestorsOf(record.timeline, switches)),
            );
          // Other commits may stand at the same positions of another timeline, announced or not.
          expect(decision.kind === 'continue').toBe(record.timeline === identity.timeline);
          if (decision.kind === 'take-over') expect(facts.synced).toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

/** Where a timeline and its ancestors were left, oldest first; timeline 0 has none. */
function ancestorsOf(timeline: number, switches: readonly { parent: number; at: number }[]): TimelineEnd[] {
  const left = switches[timeline - 1];
  if (left === undefined) return [];
  const parent = left.parent % timeline;
  const before = ancestorsOf(parent, switches);
  // A timeline is left where it has WAL of its own, at the earliest where it began.
  return [...before, { timeline: parent, end: Math.max(left.at, before.at(-1)?.end ?? 0) }];
}

/** On which timeline a byte of a server's history was written. */
function writtenOn(byte: number, timeline: number, ancestors: readonly TimelineEnd[]): number {
  return ancestors.find(({ end }) => byte < end)?.timeline ?? timeline;
}
