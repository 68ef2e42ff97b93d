import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import type { FaultEvents, Heal } from './faults/fault.ts';
import { describeStep, type Step } from './schedule.ts';

interface Options {
  readonly cluster: Cluster;
  readonly events: FaultEvents;
  readonly say: (text: string) => void;
  /** Settles when everything works again. */
  readonly recovered: () => Promise<void>;
  /** Gets what each kind of a step took, from when all of its faults began to be undone. */
  readonly healed: (kind: string, seconds: number) => void;
  readonly signal: AbortSignal;
}

/** Causes the faults of a schedule, one step after the other, and waits after each until everything works again. */
export async function unleash(steps: Iterable<Step>, options: Options): Promise<void> {
  const { cluster, events, say, recovered, healed, signal } = options;
  for (const step of steps) {
    if (signal.aborted) return;
    say(describeStep(step));
    const heals: Heal[] = [];
    try {
      for (const { kind, target } of step.faults) heals.push(await kind.start(cluster, target, events));
      await wait(step.lastsMs, undefined, { signal }).catch(() => undefined);
    } catch (error) {
      await Promise.allSettled(heals.map((heal) => heal()));
      throw error;
    }
    const endedAtMs = performance.now();
    const works = recovered().then(() => (performance.now() - endedAtMs) / 1000);
    works.catch(() => undefined);
    await Promise.all(heals.map((heal) => heal()));
    const seconds = await works;
    if (signal.aborted) return;
    for (const { kind } of step.faults) healed(kind.name, seconds);
    say(`everything works again after ${seconds.toFixed(2)} s`);
  }
}
