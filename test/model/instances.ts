import type { Model } from './model.ts';

export type Size = 'small' | 'medium' | 'large';

const memory = { sidecars: 1, appliers: 0, hasStandby: true, hasLateSight: true, hasIdleCommits: true } as const;
const redis = { sidecars: 1, appliers: 1, maxGenerations: 2 } as const;
const redisFaults = { applier: 1, trim: 1, forget: 1, restore: 1, restart: 1 } as const;
const epochs = { sidecars: 1, appliers: 0, maxEpochs: 2 } as const;
const epochFaults = { failover: 1, slot: 1, crash: 1, duplicate: 1 } as const;

/** The good protocol, in instances that each look at one part of it; README.md has what they take. */
export const instances: Readonly<Record<Size, Readonly<Record<string, Model>>>> = {
  small: {
    'database, publisher, Kafka and the memory of a sidecar': {
      ...memory,
      hasIdleCommits: false,
      maxLsn: 2,
      maxRecords: 4,
      faults: { crash: 1, duplicate: 1, retention: 1, restart: 1 },
      maxFaults: 1,
    },
    'Redis and its applier, keys': { ...redis, maxLsn: 2, maxRecords: 3, faults: redisFaults, maxFaults: 1 },
    'Redis and its applier, tags': {
      ...redis,
      isTagged: true,
      maxLsn: 2,
      maxRecords: 3,
      faults: { trim: 1, forget: 1, retention: 1, restart: 1 },
      maxFaults: 1,
    },
    'epochs and failover': { ...epochs, maxLsn: 2, maxRecords: 3, faults: epochFaults, maxFaults: 2 },
  },
  medium: {
    'database, publisher, Kafka and the memory of a sidecar': {
      ...memory,
      hasStandby: false,
      maxLsn: 3,
      maxRecords: 4,
      faults: { crash: 1, duplicate: 1, retention: 1, restart: 1 },
      maxFaults: 1,
    },
    'Redis and its applier, keys': {
      ...redis,
      maxLsn: 2,
      maxRecords: 3,
      faults: { ...redisFaults, retention: 1, snapshot: 1 },
      maxFaults: 2,
    },
    'Redis and its applier, tags': {
      ...redis,
      isTagged: true,
      maxLsn: 2,
      maxRecords: 3,
      faults: { ...redisFaults, retention: 1, snapshot: 1 },
      maxFaults: 2,
    },
    'two sidecars and Redis': { ...redis, sidecars: 2, maxGenerations: 1, maxLsn: 1, maxRecords: 2 },
    'epochs and failover': {
      ...epochs,
      hasLateSight: true,
      maxLsn: 3,
      maxRecords: 4,
      faults: epochFaults,
      maxFaults: 1,
    },
    'epochs, failover and Redis': { ...redis, maxEpochs: 2, maxLsn: 2, maxRecords: 3, faults: { failover: 1 } },
  },
  large: {
    'database, publisher, Kafka and the memory of a sidecar': {
      ...memory,
      maxLsn: 3,
      maxRecords: 5,
      cutsAnywhere: true,
      faults: { crash: 2, duplicate: 1, retention: 1, restart: 1 },
      maxFaults: 2,
    },
    'Redis and two appliers, keys': {
      ...redis,
      appliers: 2,
      maxGenerations: 3,
      hasLateSight: true,
      hasIdleCommits: true,
      maxLsn: 2,
      maxRecords: 4,
      faults: { ...redisFaults, snapshot: 1, restore: 2 },
      maxFaults: 3,
    },
    'Redis and two appliers, tags': {
      ...redis,
      appliers: 2,
      isTagged: true,
      maxGenerations: 3,
      hasIdleCommits: true,
      maxLsn: 2,
      maxRecords: 4,
      faults: { ...redisFaults, snapshot: 1, restore: 2 },
      maxFaults: 3,
    },
    'two sidecars and Redis': { ...redis, sidecars: 2, maxLsn: 2, maxRecords: 3, faults: redisFaults, maxFaults: 2 },
    'epochs and failover': {
      ...epochs,
      maxEpochs: 3,
      hasLateSight: true,
      maxLsn: 4,
      maxRecords: 5,
      faults: { ...epochFaults, failover: 2 },
      maxFaults: 3,
    },
    'epochs, failover and Redis': {
      ...redis,
      maxEpochs: 2,
      maxLsn: 3,
      maxRecords: 4,
      faults: { failover: 1, duplicate: 1, crash: 1, slot: 1, forget: 1, restore: 1 },
      maxFaults: 2,
    },
  },
};

/** One or more rules left out, and an instance in which a resurrection is then found after so many steps. */
export interface Mutant {
  readonly without: readonly string[];
  readonly model: Model;
  /** Length of the shortest way there. */
  readonly steps: number;
}

const one = { sidecars: 1, appliers: 0, hasLateSight: true, maxLsn: 2, maxRecords: 4 } as const;
const shared = { ...redis, maxLsn: 2, maxRecords: 3 } as const;
const failover = { ...epochs, maxLsn: 2, maxRecords: 4, faults: { failover: 1 } } as const;
const sharedFailover = { ...shared, maxEpochs: 2, faults: { failover: 1 } } as const;

/** For designs that continue the stream after a promotion. */
export const promotion: Model = failover;

/** Where one rule alone is not enough, another one stands behind it; README.md says which. */
export const mutants: readonly Mutant[] = [
  { without: ['visible clock'], model: one, steps: 8 },
  { without: ['confirm after publish', 'slot not ahead'], model: { ...one, faults: { crash: 1 } }, steps: 12 },
  {
    without: ['slot not ahead'],
    model: { ...one, hasLateSight: false, maxLsn: 3, faults: { slot: 1, crash: 1 } },
    steps: 11,
  },
  { without: ['confirm visible'], model: { ...one, faults: { crash: 1 } }, steps: 14 },
  {
    without: ['seen before epoch'],
    model: { ...one, maxLsn: 3, maxEpochs: 2, faults: { slot: 1, crash: 1 } },
    steps: 10,
  },
  { without: ['gap flushes'], model: { ...one, faults: { retention: 1 } }, steps: 13 },
  { without: ['start sets horizon'], model: { ...one, faults: { restart: 1 } }, steps: 8 },
  { without: ['eviction'], model: one, steps: 8 },
  { without: ['fill fence'], model: one, steps: 8 },
  { without: ['fill horizon'], model: { ...one, faults: { restart: 1 } }, steps: 8 },
  { without: ['standby position'], model: { ...one, hasStandby: true }, steps: 8 },
  { without: ['lease epoch'], model: { ...failover, maxLsn: 3, maxRecords: 3 }, steps: 14 },
  { without: ['own epoch first'], model: { ...failover, faults: { failover: 1, duplicate: 1 } }, steps: 15 },
  { without: ['timeline compared'], model: failover, steps: 14 },
  { without: ['read horizon'], model: { ...shared, faults: { restart: 1 } }, steps: 11 },
  { without: ['read own fences'], model: shared, steps: 11 },
  { without: ['promotion after check'], model: shared, steps: 11 },
  { without: ['read log epoch', 'read entry epoch'], model: { ...sharedFailover, maxGenerations: 1 }, steps: 15 },
  { without: ['L2 fill epoch', 'read entry epoch'], model: sharedFailover, steps: 17 },
  { without: ['tag from'], model: { ...shared, isTagged: true, faults: { trim: 1 } }, steps: 13 },
  { without: ['tag fence'], model: { ...shared, isTagged: true }, steps: 12 },
  { without: ['apply hole'], model: { ...shared, hasIdleCommits: true, faults: { restore: 1 } }, steps: 17 },
  { without: ['apply deletes'], model: shared, steps: 12 },
  { without: ['new generation'], model: { ...shared, faults: { forget: 1 } }, steps: 14 },
  { without: ['fences intact'], model: { ...shared, isTagged: true, faults: { forget: 1 } }, steps: 13 },
  { without: ['L2 fill fence'], model: shared, steps: 12 },
  { without: ['L2 fill from'], model: { ...shared, faults: { trim: 1 } }, steps: 13 },
];
