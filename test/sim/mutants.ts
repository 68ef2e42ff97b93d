// oxlint-disable max-lines -- one list
import { FILL_SCRIPT, GET_TAGGED_SCRIPT } from '@tidemark/proto/redis';
import type { LastRecord, SlotFacts } from '../../invalidator/src/core/start.ts';
import { RULES } from './parts/keys.ts';
import type { lookAt } from './parts/publication.ts';
import type { Sabotage } from './parts/sabotage.ts';

/** A guard that is left out: what it guards, how it is left out, and a seed that finds the hole. */
export interface Mutant {
  readonly guard: string;
  readonly seed: number;
  readonly sabotage: Sabotage;
}

const COVERS = RULES.namespaces.map(({ hash }) => hash);

/**
 * Each one alone must be found: a simulation that cannot find the hole is worth nothing. Not here: that a publisher skips what
 * was published before, because to repeat it would cost needless evictions only.
 */
export const MUTANTS: readonly Mutant[] = [
  // The sidecar (SPEC I1, I3 to I10).
  {
    guard: 'keys are evicted from L1',
    seed: 1,
    sabotage: {
      sidecar: {
        evictions: (target) => ({
          key: () => undefined,
          tag: (...a) => target.tag(...a),
          namespace: (...a) => target.namespace(...a),
        }),
      },
    },
  },
  {
    guard: 'tags are evicted from L1',
    seed: 2,
    sabotage: {
      sidecar: {
        evictions: (target) => ({
          key: (...a) => target.key(...a),
          tag: () => undefined,
          namespace: (...a) => target.namespace(...a),
        }),
      },
    },
  },
  {
    guard: 'namespaces are flushed from L1',
    seed: 2,
    sabotage: {
      sidecar: {
        evictions: (target) => ({
          key: (...a) => target.key(...a),
          tag: (...a) => target.tag(...a),
          namespace: () => undefined,
        }),
      },
    },
  },
  {
    guard: 'leases carry the visible clock',
    seed: 26,
    sabotage: {
      sidecar: {
        granting: (replica) => ({
          get visible() {
            return replica.applied;
          },
        }),
      },
    },
  },
  {
    guard: 'fills are checked against fences',
    seed: 1,
    sabotage: { sidecar: { filling: () => ({ newestFence: () => 0 }) } },
  },
  {
    guard: 'fills are checked against the horizon',
    seed: 37,
    sabotage: { sidecar: { filling: () => ({ horizon: 0 }) } },
  },
  {
    guard: 'fills are checked against the epoch',
    seed: 1,
    sabotage: { sidecar: { granting: () => ({ epoch: 7 }), filling: () => ({ epoch: 7 }) } },
  },
  {
    guard: 'a standby says how far it was before it was read',
    seed: 1,
    sabotage: { sidecar: { ignoreSourceLsn: true } },
  },
  {
    guard: 'a gap is noticed',
    seed: 483,
    sabotage: {
      sidecar: {
        record: (batch, { applied, epoch }) =>
          batch.epoch === epoch && batch.from > applied && applied > 0 ? { ...batch, from: applied } : batch,
      },
    },
  },
  {
    guard: 'a lost place is noticed',
    seed: 170,
    sabotage: {
      sidecar: {
        ignoreReset: true,
        record: (batch, { applied, epoch }) =>
          batch.epoch === epoch && batch.from > applied && applied > 0 ? { ...batch, from: applied } : batch,
      },
    },
  },
  {
    guard: 'a record of a later epoch flushes',
    seed: 1,
    sabotage: {
      sidecar: { record: (batch, { epoch }) => (epoch > 0 && batch.epoch > epoch ? { ...batch, epoch } : batch) },
    },
  },
  {
    guard: 'a stream that is not heard stalls',
    seed: 4,
    sabotage: { sidecar: { granting: () => ({ state: () => 'live' }) } },
  },
  {
    guard: 'a request counts from when it was sent, by a process that slept',
    seed: 1017,
    sabotage: { sidecar: { requestedAtMs: (_sentAtMs, nowMs) => nowMs } },
  },
  {
    guard: 'an older epoch is not taken for a sign of life',
    seed: 141,
    sabotage: { sidecar: { hearsOlder: true } },
  },
  {
    guard: 'a namespace that the publisher does not cover is not cached',
    seed: 9,
    sabotage: {
      sidecar: {
        granting: () => ({ covers: () => true }),
        filling: () => ({ covers: () => true }),
        reading: () => ({ covers: () => true }),
        record: (batch) => ({ ...batch, covers: COVERS }),
      },
    },
  },
  // What is read from Redis (I7).
  {
    guard: 'entries of Redis are checked against our fences',
    seed: 10,
    sabotage: { sidecar: { reading: () => ({ newestFence: () => 0 }) } },
  },
  {
    guard: 'a log behind our horizon is not believed',
    seed: 208,
    sabotage: { sidecar: { reading: () => ({ horizon: 0 }) } },
  },
  {
    guard: 'entries of another epoch are not served',
    seed: 21,
    sabotage: {
      sidecar: {
        found: (found, { epoch }) => ({
          ...found,
          entry: found.entry && { ...found.entry, epoch },
          context: { ...found.context, log: found.context.log?.replace(/^(\S+ \S+ \S+) \S+/, `$1 ${epoch}`) },
        }),
      },
    },
  },
  {
    guard: 'a namespace that is flushed in Redis is not served from there',
    seed: 2,
    sabotage: {
      sidecar: {
        found: (found) => ({
          ...found,
          context: { ...found.context, pair: found.context.pair?.replace(/ \d+ \d+$/, ' 0 0') },
        }),
      },
    },
  },
  {
    guard: 'Redis compares the tags of an entry with its fences',
    seed: 1,
    sabotage: {
      script: (source, call) => (source === GET_TAGGED_SCRIPT ? { ...call, args: ['nothing:'] } : call),
    },
  },
  {
    guard: 'Redis stores no entry over a fence',
    seed: 7,
    sabotage: {
      script: (source, { keys, args }) =>
        source === FILL_SCRIPT
          ? { keys, args: args.map((arg, i) => (i === 2 ? Number.MAX_SAFE_INTEGER : arg)) }
          : { keys, args },
    },
  },
  // The applier (I7).
  {
    guard: 'a hole in a log is noticed',
    seed: 276,
    sabotage: {
      applier: { logs: (logs) => ({ ...logs, apply: (bucket, part) => logs.apply(bucket, { ...part, from: 0 }) }) },
    },
  },
  {
    guard: 'a log that begins anew has another generation',
    seed: 57,
    sabotage: {
      applier: {
        logs: (logs) => ({ ...logs, begin: (bucket, begin) => logs.begin(bucket, { ...begin, generation: 'g' }) }),
      },
    },
  },
  {
    guard: 'a log says where its namespaces began',
    seed: 2,
    sabotage: {
      applier: {
        logs: (logs) => ({
          ...logs,
          adopt: (bucket, adopt) => logs.adopt(bucket, { ...adopt, adoption: adopt.header.adoption }),
        }),
      },
    },
  },
  {
    guard: 'namespaces are fenced in Redis',
    seed: 12,
    sabotage: {
      applier: {
        logs: (logs) => ({
          ...logs,
          apply: (bucket, part) =>
            logs.apply(bucket, { ...part, pairs: part.pairs.map((pair) => ({ ...pair, lsn: 0 })) }),
        }),
      },
    },
  },
  {
    guard: 'keys are fenced in Redis',
    seed: 1,
    sabotage: {
      applier: {
        logs: (logs) => ({ ...logs, apply: (bucket, part) => logs.apply(bucket, { ...part, keyFences: [] }) }),
      },
    },
  },
  {
    guard: 'tags are fenced in Redis',
    seed: 1,
    sabotage: {
      applier: {
        logs: (logs) => ({ ...logs, apply: (bucket, part) => logs.apply(bucket, { ...part, tagFences: [] }) }),
      },
    },
  },
  // The publisher (I2, I3, I8, I10).
  {
    guard: 'the slot is confirmed only after Kafka has the record',
    seed: 311,
    sabotage: {
      publisher: {
        confirmsEarly: true,
        start: ({ slot, last, ...rest }) => ({ ...rest, last, slot: notAhead(slot, last) }),
      },
    },
  },
  {
    guard: 'what is unseen comes again after a restart',
    seed: 174,
    sabotage: { publisher: { confirmable: (_clock, to) => to } },
  },
  {
    guard: 'records claim only what is visible',
    seed: 1,
    sabotage: { publisher: { ask: () => new Set() } },
  },
  {
    guard: 'a continued stream knows what is unseen before it claims anything',
    seed: 9579,
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
    seed: 311,
    sabotage: { publisher: { start: ({ slot, last, ...rest }) => ({ ...rest, last, slot: notAhead(slot, last) }) } },
  },
  {
    guard: 'a slot that is lost or missing ends the epoch',
    seed: 1,
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
    seed: 1,
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
    seed: 40,
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
    seed: 3597,
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
