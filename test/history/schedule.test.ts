import fc from 'fast-check';
import { expect, test } from 'vitest';
import { faultKinds } from './faults/index.ts';
import { seededRandom } from './random.ts';
import { areApart, round, schedule, type Step } from './schedule.ts';

function plain(steps: Iterable<Step>): unknown[] {
  return [...steps].map(({ faults, lastsMs }) => [faults.map(({ kind, target }) => [kind.name, target]), lastsMs]);
}

function* first(count: number, steps: Iterator<Step>): Generator<Step> {
  for (let n = 0; n < count; n += 1) yield (steps.next() as IteratorYieldResult<Step>).value;
}

test('a round has every kind once, and never two that meet', () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const steps = [...round({ kinds: faultKinds, random: seededRandom(seed) })];
      const names = steps.flatMap(({ faults }) => faults.map(({ kind }) => kind.name));
      expect(names.toSorted()).toEqual(faultKinds.map(({ name }) => name).toSorted());
      for (const { faults, lastsMs } of steps) {
        const [one, other] = faults;
        if (one !== undefined && other !== undefined) expect(areApart(one, other)).toBe(true);
        expect(lastsMs).toBeLessThanOrEqual(Math.max(...faults.map(({ kind }) => kind.lastsMs[1])));
        for (const { kind, target } of faults) expect(kind.targets).toContain(target);
      }
    }),
    { numRuns: 50 },
  );
});

test('the same seed gives the same schedule, another one another', () => {
  const of = (seed: number): unknown[] => plain(first(60, schedule({ kinds: faultKinds, random: seededRandom(seed) })));
  expect(of(7)).toEqual(of(7));
  expect(of(7)).not.toEqual(of(8));
});

test('faults that break the same part, or break what the other one needs, do not meet', () => {
  const planned = (name: string, target: string) => ({ kind: faultKinds.find((kind) => kind.name === name)!, target });
  expect(areApart(planned('kill-redis', 'redis'), planned('redis-flushall', 'redis'))).toBe(false);
  expect(areApart(planned('redis-failover', 'redis'), planned('kill-applier', 'applier'))).toBe(false);
  expect(areApart(planned('kill-applier', 'applier'), planned('redis-failover', 'redis'))).toBe(false);
  expect(areApart(planned('kill-redis', 'redis'), planned('pause-sidecar', 'sidecar-1'))).toBe(true);
  expect(areApart(planned('kill-redis', 'redis'), planned('cut', 'sidecar-1-redis'))).toBe(true);
});
