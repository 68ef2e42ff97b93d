import { FILL_SCRIPT, GET_TAGGED_SCRIPT } from '@tidemark/proto/redis';
import type { Mutant } from './mutant.ts';

/** Guards of what is read from Redis, and of the applier that writes there (SPEC I7). */
export const REDIS_MUTANTS: readonly Mutant[] = [
  {
    guard: 'entries of Redis are checked against our fences',
    seed: 24,
    sabotage: { sidecar: { reading: () => ({ newestFence: () => 0 }) } },
  },
  {
    guard: 'a log behind our horizon is not believed',
    seed: 47,
    sabotage: { sidecar: { reading: () => ({ horizon: 0 }) } },
  },
  {
    guard: 'entries of another epoch are not served',
    seed: 11,
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
    seed: 4,
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
      script: (source, call) =>
        source === GET_TAGGED_SCRIPT ? { ...call, args: call.args.with(1, 'nothing:') } : call,
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
  {
    guard: 'a hole in a log is noticed',
    seed: 975,
    sabotage: {
      applier: { logs: (logs) => ({ ...logs, apply: (bucket, part) => logs.apply(bucket, { ...part, from: 0 }) }) },
    },
  },
  {
    guard: 'a log that begins anew has another generation',
    seed: 160,
    sabotage: {
      applier: {
        logs: (logs) => ({ ...logs, begin: (bucket, begin) => logs.begin(bucket, { ...begin, generation: 'g' }) }),
      },
    },
  },
  {
    guard: 'a log says where its namespaces began',
    seed: 16,
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
    seed: 16,
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
];
