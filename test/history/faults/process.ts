import { processes, sidecars, type ProcessName } from '../cluster.ts';
import type { FaultKind } from './fault.ts';

/** kill -9, and some time later a new process on the old data. */
const kill = (name: string, targets: readonly ProcessName[]): FaultKind => ({
  name: `kill-${name}`,
  says: 'kill -9 of {target}',
  targets,
  breaks: (target) => [target],
  lastsMs: [500, 4_000],
  start: async (cluster, target, { ending }) => {
    const handle = cluster.process(target as ProcessName);
    handle.hold();
    ending(target as ProcessName);
    await handle.kill();
    return () => handle.release();
  },
});

/** SIGSTOP, and later SIGCONT: it comes back with everything that it believed before. */
const pause = (name: string, targets: readonly ProcessName[]): FaultKind => ({
  name: `pause-${name}`,
  says: 'SIGSTOP of {target}',
  targets,
  breaks: (target) => [target],
  lastsMs: [1_000, 5_000],
  start: async (cluster, target) => {
    const handle = cluster.process(target as ProcessName);
    handle.pause();
    return async () => handle.resume();
  },
});

const alone = processes.filter((name) => !name.startsWith('sidecar'));

export const processFaults: readonly FaultKind[] = [kill, pause].flatMap((fault) => [
  ...alone.map((name) => fault(name, [name])),
  fault('sidecar', sidecars),
]);
