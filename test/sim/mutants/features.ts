import type { Mutant } from './mutant.ts';

/** Guards of what sidecars load themselves, and of what they keep (SPEC I5, I6). */
export const FEATURE_MUTANTS: readonly Mutant[] = [
  {
    guard: 'what may not be stored is passed to those only who had asked before',
    seed: 44,
    flavor: 'features',
    sabotage: { sidecar: { passesToAll: true } },
  },
  {
    guard: 'and only where everything applied was visible',
    seed: 10,
    flavor: 'features',
    sabotage: {
      sidecar: {
        loading: (replica) => ({
          get visible() {
            return replica.applied;
          },
        }),
      },
    },
  },
  {
    guard: 'a standby says how far it is',
    seed: 1,
    flavor: 'features',
    sabotage: { sidecar: { ignoreSourceLsn: true } },
  },
  {
    guard: 'leases of loads carry the visible clock',
    seed: 10,
    flavor: 'features',
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
];
