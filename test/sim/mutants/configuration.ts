import { rulesOfSource } from '@tidemark/proto';
import type { Lease } from '../../../sidecar/src/core/leases.ts';
import type { SourceReplica } from '../../../sidecar/src/core/replica.ts';
import { ALL_RULES, type SimDocument } from '../parts/documents.ts';
import type { ConfigurationParts } from '../parts/sabotage.ts';
import type { Mutant } from './mutant.ts';

/** H as it would be had it not risen with the rules. */
const horizons = new WeakMap<SourceReplica, { readonly real: number; readonly kept: number }>();
const keptHorizon = (replica: SourceReplica): { horizon: number } => ({
  get horizon() {
    const known = horizons.get(replica);
    return known !== undefined && known.real === replica.horizon ? known.kept : replica.horizon;
  },
});

/** Guards of a change of the configuration (SPEC I16). */
export const CONFIGURATION_MUTANTS: readonly Mutant[] = [
  {
    guard: 'a namespace with other rules begins empty',
    seed: 32,
    flavor: 'changes',
    sabotage: {
      sidecar: {
        take(take, { namespaces }) {
          const before = [...namespaces].map(([name, { l1 }]) => [name, [...l1.recent(100)]] as const);
          take();
          for (const [name, entries] of before)
            for (const [key, entry] of entries) namespaces.get(name)?.l1.set(key, entry);
        },
      },
    },
  },
  {
    guard: 'leases of before are forgotten',
    seed: 336,
    flavor: 'changes',
    sabotage: {
      sidecar: {
        take(take, { leases, namespaces }) {
          const clear = leases.clear.bind(leases);
          leases.clear = () => undefined;
          take();
          leases.clear = clear;
          const takeLease = leases.take.bind(leases);
          // As if nobody compared which rules they were given under.
          leases.take = (...args): Lease | undefined => {
            const lease = takeLease(...args);
            const rules = lease && namespaces.get(lease.namespace.name)?.rules;
            return lease && rules && { ...lease, namespace: rules };
          };
        },
      },
    },
  },
  {
    guard: 'H rises where fences are forgotten',
    seed: 15,
    flavor: 'changes',
    sabotage: {
      sidecar: {
        take(take, { replica }) {
          const kept = keptHorizon(replica).horizon;
          take();
          horizons.set(replica, { real: replica.horizon, kept });
        },
        filling: keptHorizon,
        reading: keptHorizon,
        granting: keptHorizon,
      },
    },
  },
  {
    guard: 'evictions reach the namespaces of now',
    seed: 1,
    flavor: 'changes',
    sabotage: {
      sidecar: {
        take(take, { evictor, namespaces }) {
          const reconfigure = evictor.reconfigure.bind(evictor);
          const before = [...namespaces.values()];
          evictor.reconfigure = (now) => reconfigure([...before, ...now.slice(before.length)]);
          take();
          evictor.reconfigure = reconfigure;
        },
      },
    },
  },
  {
    guard: 'changes are read by the rules of now',
    seed: 2,
    flavor: 'changes',
    sabotage: {
      sidecar: {
        take(take, { replica, namespaces }) {
          const reconfigure = replica.reconfigure.bind(replica);
          const { size } = namespaces;
          replica.reconfigure = (rules) => {
            if (rules.namespaces.length !== size) reconfigure(rules);
          };
          take();
          replica.reconfigure = reconfigure;
        },
      },
    },
  },
  {
    guard: 'what Redis is asked under former rules is not stored under the new ones',
    seed: 250,
    flavor: 'changes',
    sabotage: { sidecar: { take: takeInPlace } },
  },
  {
    guard: 'Redis knows only namespaces that are applied',
    seed: 4,
    flavor: 'changes',
    sabotage: {
      applier: {
        logs: (logs) => ({
          ...logs,
          begin: (bucket, begin) => logs.begin(bucket, { ...begin, applied: allOf(begin.applied) }),
          adopt: (bucket, adopt) => logs.adopt(bucket, { ...adopt, applied: allOf(adopt.applied) }),
        }),
      },
    },
  },
];

/** The rules are swapped where they are, under everybody who is on the way. */
function takeInPlace(take: () => void, parts: ConfigurationParts, { config }: SimDocument): void {
  const { namespaces, evictor, replica, coalescer } = parts;
  const rules = rulesOfSource(config, 'main');
  if (Object.keys(config.namespaces).join() !== [...namespaces.keys()].join()) {
    take();
    return;
  }
  for (const [name, namespace] of namespaces) {
    const next = rules.byName.get(name);
    if (next?.hash !== namespace.rules?.hash) namespace.l1.clear();
    namespace.renumber(next);
  }
  const ruled = rules.namespaces.flatMap(({ name }) => namespaces.get(name) ?? []);
  evictor.reconfigure(ruled);
  replica.reconfigure(rules);
  coalescer.reconfigure(ruled, []);
}

const allOf = ({ digest }: { digest: string }) => ({ digest, namespaces: ALL_RULES.namespaces });
