import type { Trouble } from '../../kit/index.ts';
import { ways } from '../cluster.ts';
import type { FaultKind } from './fault.ts';

const fault = (name: string, says: string, trouble: Trouble): FaultKind => ({
  name,
  says: `the way {target} ${says}`,
  targets: ways,
  breaks: (target) => [target],
  lastsMs: [1_000, 6_000],
  start: async (cluster, target) => {
    const way = cluster.way(target);
    await way.trouble(trouble);
    return () => way.heal();
  },
});

export const networkFaults: readonly FaultKind[] = [
  fault('cut', 'is cut: connections are refused', { kind: 'refused' }),
  fault('silence', 'is silent: nothing arrives either way', { kind: 'silent', toward: 'both' }),
  fault('no-answers', 'loses every answer', { kind: 'silent', toward: 'client' }),
  fault('no-requests', 'loses every request', { kind: 'silent', toward: 'server' }),
  fault('latency', 'is 200 to 400 ms long', { kind: 'slow', delayMs: 300, jitterMs: 100 }),
  fault('torn', 'breaks off in the middle of answers', { kind: 'torn', afterBytes: 5_000 }),
];
