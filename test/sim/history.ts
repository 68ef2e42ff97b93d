import { Dice } from '../../sidecar/src/testing/random.ts';
import { checkRecovery } from './parts/recovery.ts';
import type { Served } from './parts/oracle.ts';
import { changeConfiguration, takeStep, weatherOf } from './parts/steps.ts';
import type { Sabotage } from './parts/sabotage.ts';
import { World } from './parts/world.ts';

/**
 * `changes`: the configuration changes meanwhile. `features`: sidecars load values themselves, refresh what is old, keep what was
 * invalidated, and callers take what is stale.
 */
export type Flavor = 'plain' | 'changes' | 'features';

/** A history: which of the steps that a seed stands for are taken. */
export interface Script {
  readonly seed: number;
  /** Numbers of steps, ascending; each has dice of its own, so leaving one out does not change the others' choices. */
  readonly steps: readonly number[];
  readonly flavor?: Flavor;
}

export interface HistoryResult {
  /** What went wrong first; undefined when nothing did. */
  readonly violation: string | undefined;
  /** The step at which it went wrong. */
  readonly at: number;
  readonly served: Served;
  /** Steps that were faults. */
  readonly faults: number;
  /** How often each kind of step was taken. */
  readonly taken: ReadonlyMap<string, number>;
  /** What was done, a line a step. */
  readonly log: readonly string[];
}

export const STEPS = 600;

/** All the steps of a seed. */
export function fullScript(seed: number, flavor: Flavor = 'plain'): Script {
  return { seed, steps: Array.from({ length: STEPS }, (_, i) => i), flavor };
}

/** Plays a history to its first violation, or to its end and through the recovery after it. The same script gives the same history. */
export async function play(script: Script, sabotage: Sabotage = {}): Promise<HistoryResult> {
  const { seed, steps, flavor = 'plain' } = script;
  const world = new World({ sabotage, flavor });
  const { oracle } = world;
  const taken = new Map<string, number>();
  const log: string[] = [];
  let faults = 0;
  const result = (at: number): HistoryResult => {
    world.end();
    return { violation: oracle.violations[0], at, served: oracle.served, faults, taken, log };
  };
  const weather = weatherOf(new Dice(mixed(seed, -2)));
  for (const step of steps) {
    world.dice = new Dice(mixed(seed, step));
    const { name, isFault } = await takeStep(world, weather);
    if (isFault) faults += 1;
    taken.set(name, (taken.get(name) ?? 0) + 1);
    log.push(`${step}: ${name}`);
    if (flavor === 'changes') {
      world.dice = new Dice(mixed(~seed, step));
      const change = changeConfiguration(world);
      if (change !== undefined) log.push(`${step}: ${change}`);
    }
    if (oracle.violations.length > 0) return result(step);
  }
  world.dice = new Dice(mixed(seed, -1));
  await checkRecovery(world);
  return result(steps.length);
}

/** Spreads seeds and steps over all states of the dice. */
function mixed(seed: number, step: number): number {
  let x = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(step + 1, 0xc2b2ae35);
  x = Math.imul(x ^ (x >>> 16), 0x27d4eb2f);
  return (x ^ (x >>> 15)) >>> 0;
}
