import type { Flavor } from '../history.ts';
import type { Sabotage } from '../parts/sabotage.ts';

/** A guard that is left out: what it guards, how it is left out, and a seed that finds the hole. */
export interface Mutant {
  readonly guard: string;
  readonly seed: number;
  readonly sabotage: Sabotage;
  /** Of the histories that find it. */
  readonly flavor?: Flavor;
}
