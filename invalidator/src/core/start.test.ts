import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decideStart, type LastRecord, type ServerIdentity, type SlotFacts } from './start.ts';

const server: ServerIdentity = { systemId: 7n, timeline: 1, insertLsn: 1000 };
const last: LastRecord = { epoch: 5, to: 500, visible: 490, systemId: 7n, timeline: 1 };
const slot: SlotFacts = { state: 'usable', confirmed: 480 };
const nowMs = 1_700_000_000_000;

describe('decideStart', () => {
  it('continues where the newest record ended', () => {
    expect(decideStart({ last, server, slot, nowMs })).toEqual({ kind: 'continue', epoch: 5, from: 500, visible: 490 });
  });

  it.each<[string, LastRecord, SlotFacts, number]>([
    ['the slot stands where the record ended', last, { state: 'usable', confirmed: 500 }, 500],
    [
      'the slot stands between visible and to: what it let go was visible',
      last,
      { state: 'usable', confirmed: 495 },
      495,
    ],
    ['the record ended at the newest WAL', { ...last, to: 1000, visible: 1000 }, slot, 1000],
  ])('continues when %s', (_name, record, facts, visible) => {
    expect(decideStart({ last: record, server, slot: facts, nowMs })).toMatchObject({
      kind: 'continue',
      from: record.to,
      visible,
    });
  });

  it.each<[string, LastRecord | 'unreadable' | undefined, ServerIdentity, SlotFacts]>([
    ['empty-topic', undefined, server, slot],
    ['empty-topic', undefined, server, { state: 'missing' }],
    ['unreadable-topic', 'unreadable', server, slot],
    ['other-server', last, { ...server, systemId: 8n }, slot],
    ['other-timeline', last, { ...server, timeline: 2 }, slot],
    ['server-went-back', { ...last, to: 1001 }, server, slot],
    ['slot-missing', last, server, { state: 'missing' }],
    ['slot-lost', last, server, { state: 'lost', why: 'idle' }],
    ['slot-ahead', last, server, { state: 'usable', confirmed: 501 }],
  ])('begins a new epoch: %s', (reason, record, identity, facts) => {
    expect(decideStart({ last: record, server: identity, slot: facts, nowMs })).toEqual({
      kind: 'new-epoch',
      epoch: nowMs,
      reason,
    });
  });

  it('[I10] numbers a new epoch above the last one even when the clock stands behind it', () => {
    const ahead = { ...last, epoch: nowMs + 50 };
    expect(decideStart({ last: ahead, server, slot: { state: 'missing' }, nowMs })).toMatchObject({
      epoch: nowMs + 51,
    });
  });

  it('[I2] [I10] never continues with a hole, over all states', () => {
    const lsn = fc.nat(20);
    fc.assert(
      fc.property(
        fc.option(
          fc.record({ epoch: fc.nat(9), to: lsn, visible: lsn, systemId: fc.bigInt(0n, 1n), timeline: fc.nat(1) }),
          { nil: undefined },
        ),
        fc.record({ systemId: fc.bigInt(0n, 1n), timeline: fc.nat(1), insertLsn: lsn }),
        fc.oneof(
          fc.constant<SlotFacts>({ state: 'missing' }),
          fc.constant<SlotFacts>({ state: 'lost', why: '' }),
          lsn.map((confirmed): SlotFacts => ({ state: 'usable', confirmed })),
        ),
        (record, identity, facts) => {
          const decision = decideStart({ last: record, server: identity, slot: facts, nowMs: 3 });
          if (decision.kind === 'new-epoch') {
            expect(decision.epoch).toBeGreaterThan(record?.epoch ?? 0);
            return;
          }
          if (record === undefined || facts.state !== 'usable') throw new Error('continued without a record or a slot');
          // The slot delivers everything after `from`, of the history that `from` belongs to.
          expect(facts.confirmed).toBeLessThanOrEqual(decision.from);
          expect([identity.systemId, identity.timeline]).toEqual([record.systemId, record.timeline]);
          expect(decision.from).toBeLessThanOrEqual(identity.insertLsn);
        },
      ),
    );
  });
});
