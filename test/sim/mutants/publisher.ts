import type { LastRecord, SlotFacts } from '../../../invalidator/src/core/start.ts';
import type { lookAt } from '../parts/publication.ts';
import type { Mutant } from './mutant.ts';

/** Guards of a publisher (SPEC I2, I3, I8, I10). */
export const PUBLISHER_MUTANTS: readonly Mutant[] = [
  {
    guard: 'the slot is confirmed only after Kafka has the record',
    seed: 671,
    sabotage: {
      publisher: {
        confirmsEarly: true,
        start: ({ slot, last, ...rest }) => ({ ...rest, last, slot: notAhead(slot, last) }),
      },
    },
  },
  {
    guard: 'what is unseen comes again after a restart',
    seed: 935,
    sabotage: { publisher: { confirmable: (_clock, to) => to } },
  },
  {
    guard: 'records claim only what is visible',
    seed: 10,
    sabotage: { publisher: { ask: () => new Set() } },
  },
  {
    guard: 'a continued stream knows what is unseen before it claims anything',
    seed: 3261,
    sabotage: { publisher: { knowsAll: true } },
  },
  {
    guard: 'a new slot waits until everything before it is visible',
    seed: 2,
    sabotage: { publisher: { ignoreUnseen: true } },
  },
  {
    guard: 'a record that could not be appended ends the session',
    seed: 59,
    sabotage: { publisher: { skipsFailed: true } },
  },
  {
    guard: 'a slot that is ahead of the topic ends the epoch',
    seed: 49,
    sabotage: { publisher: { start: ({ slot, last, ...rest }) => ({ ...rest, last, slot: notAhead(slot, last) }) } },
  },
  {
    guard: 'a slot that is lost or missing ends the epoch',
    seed: 13,
    sabotage: {
      publisher: {
        start: ({ slot, last, ...rest }) => ({
          ...{ ...rest, last },
          slot: slot.state === 'usable' ? slot : { state: 'usable', confirmed: 0, synced: true },
        }),
        makesMissingSlot: true,
      },
    },
  },
  {
    guard: 'another cluster ends the epoch',
    seed: 13,
    sabotage: {
      publisher: {
        start: ({ last, server, ...rest }) => ({
          ...rest,
          last,
          server:
            typeof last === 'object'
              ? { ...server, systemId: last.systemId, insertLsn: Number.MAX_SAFE_INTEGER }
              : server,
          slot: { state: 'usable', confirmed: 0, synced: true },
        }),
        makesMissingSlot: true,
      },
    },
  },
  {
    guard: 'a promotion that lost announced commits ends the epoch',
    seed: 53,
    sabotage: {
      publisher: {
        start: ({ last, server, ...rest }) => ({
          ...rest,
          last,
          server: {
            ...server,
            timeline: typeof last === 'object' ? last.timeline : server.timeline,
            insertLsn: Number.MAX_SAFE_INTEGER,
          },
        }),
      },
    },
  },
  {
    guard: 'a promotion begins a new epoch',
    seed: 1409,
    sabotage: {
      publisher: {
        decision: (decision, { last }) =>
          decision.kind === 'take-over' && typeof last === 'object'
            ? { ...decision, kind: 'continue', epoch: last.epoch }
            : decision,
      },
    },
  },
  {
    guard: 'the number of a new epoch is new',
    seed: 8,
    sabotage: {
      publisher: { decision: (decision) => (decision.kind === 'new-epoch' ? { ...decision, epoch: 1 } : decision) },
    },
  },
  {
    guard: 'records claim no namespace that is not served',
    seed: 9,
    sabotage: { publisher: { covers: (_covers, rules) => rules.namespaces.map(({ hash }) => hash) } },
  },
  {
    guard: 'a gain of coverage waits for transactions that were open',
    seed: 2649,
    sabotage: { publisher: { look: (look) => ({ ...look, oldestXid: 1n << 40n }) } },
  },
  {
    guard: 'DDL is noticed',
    seed: 11,
    sabotage: { publisher: { look: withoutMarks } },
  },
  {
    guard: 'what changed while nobody looked has to be earned again',
    seed: 11,
    sabotage: { publisher: { inherited: () => undefined } },
  },
];

/** As if it had been confirmed no further than the topic goes. */
function notAhead(slot: SlotFacts, last: LastRecord | 'unreadable' | undefined): SlotFacts {
  if (slot.state !== 'usable' || typeof last !== 'object') return slot;
  return { ...slot, confirmed: Math.min(slot.confirmed, last.to) };
}

/** As if nothing about the table had changed. */
function withoutMarks(look: ReturnType<typeof lookAt>): ReturnType<typeof lookAt> {
  const tables = look.facts.tables.map((table) => ({
    ...table,
    members: table.members.map((member) => ({ ...member, types: [], membership: '' })),
  }));
  return { ...look, facts: { ...look.facts, tables } };
}
