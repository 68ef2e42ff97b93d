import { describe, expect, it } from 'vitest';
import { instances, mutants, promotion } from './instances.ts';
import { check } from './tlc.ts';

// TLC explores every state of small instances of Coherence.tla: the protocol as it is, and with each rule left out.

const TIMEOUT_MS = 900_000;
const teeth = ['NoResurrection'];

describe('the protocol', { timeout: TIMEOUT_MS }, () => {
  const taken = new Map<string, number>();

  it.each(Object.entries(instances.small))(
    '[I1] [I2] [I3] [I5] [I6] [I7] [I9] [I10] holds in every state of a small model: %s',
    async (_name, model) => {
      const { violated, trace, distinct, coverage } = await check(model, { workers: 2, coverage: true });
      expect(violated, trace.map(({ action }) => action).join(' ')).toBeUndefined();
      expect(distinct).toBeGreaterThan(10_000);
      for (const [action, count] of coverage) taken.set(action, (taken.get(action) ?? 0) + count);
    },
  );

  it('takes every action that the model has in one of them', () => {
    const never = [...taken]
      .filter(([action, count]) => count === 0 && action !== 'Snapshot')
      .map(([action]) => action);
    expect(taken.size).toBeGreaterThan(25);
    expect(never).toEqual([]);
  });

  it('serves values, also from Redis and after a change', async () => {
    const model = { sidecars: 1, appliers: 1, maxLsn: 2, maxRecords: 3, invariants: ['ProbeServedFromRedis'] };
    const { violated } = await check(model, { isShort: true });
    expect(violated).toBe('ProbeServedFromRedis');
  });

  // A record that a killed publisher had sent can reach Kafka after its successor has looked at the newest one.
  it.each([[['continue over a switch']], [['continue over a switch', 'purge at a switch']]])(
    '[I10] is not safe with %j: a late record of the old timeline hides commits of the new one',
    async (having) => {
      const { violated } = await check({ ...promotion, having, invariants: teeth }, { isShort: true });
      expect(violated).toBe('NoResurrection');
    },
  );

  it('[I10] may continue over a switch where Kafka refuses what the publisher before had sent', async () => {
    const having = ['continue over a switch', 'fenced producer'];
    const { violated } = await check({ ...promotion, having }, { isShort: true });
    expect(violated).toBeUndefined();
  });
});

describe('the model has teeth', { timeout: TIMEOUT_MS }, () => {
  it.each(mutants)(
    '[I1] [I2] [I3] [I5] [I6] [I7] [I10] a resurrection is found without $without',
    async ({ without, model, steps }) => {
      const { violated, trace } = await check({ ...model, without, invariants: teeth }, { isShort: true });
      expect(violated).toBe('NoResurrection');
      expect(trace).toHaveLength(steps);
    },
  );
});
