import type { Sabotage } from '../parts/sabotage.ts';

/** A guard that is left out: what it guards, how it is left out, and a seed that finds the hole. */
export interface Mutant {
  readonly guard: string;
  readonly seed: number;
  readonly sabotage: Sabotage;
  /** Whether it takes a change of the configuration to find it. */
  readonly changes?: boolean;
}
