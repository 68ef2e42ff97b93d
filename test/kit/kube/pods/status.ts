import type { V1ContainerState, V1ContainerStatus, V1Pod, V1PodCondition, V1PodStatus } from '@kubernetes/client-node';

/** What is known of a pod that runs here. */
export interface PodFacts {
  readonly pod: V1Pod;
  readonly ip: string;
  readonly startedAt: Date;
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed';
  /** Whether all that comes before the containers is done. */
  readonly initialized: boolean;
  readonly initContainers: readonly V1ContainerStatus[];
  readonly containers: readonly V1ContainerStatus[];
}

/** The status that a kubelet would report; the scheduler's condition is kept. */
export function statusOf(facts: PodFacts, now: Date): V1PodStatus {
  const { pod, ip, startedAt: startTime, phase, initialized } = facts;
  const areReady = phase === 'Running' && facts.containers.every(({ ready }) => ready) && sidecarsReady(facts);
  const before = pod.status?.conditions ?? [];
  const condition = (type: string, isTrue: boolean): V1PodCondition => {
    const status = isTrue ? 'True' : 'False';
    const same = before.find((each) => each.type === type && each.status === status);
    return { type, status, lastTransitionTime: same?.lastTransitionTime ?? now };
  };
  const own = [
    condition('Initialized', initialized),
    condition('ContainersReady', areReady),
    condition('Ready', areReady),
  ];
  const types = new Set(own.map(({ type }) => type));
  return {
    phase,
    conditions: [...before.filter(({ type }) => !types.has(type)), ...own],
    podIP: ip,
    podIPs: [{ ip }],
    startTime,
    initContainerStatuses: [...facts.initContainers],
    containerStatuses: [...facts.containers],
  };
}

/** A native sidecar counts for the readiness of its pod: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/ */
function sidecarsReady({ pod, initContainers }: PodFacts): boolean {
  const sidecars = (pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return sidecars.every(({ name }) => initContainers.find((each) => each.name === name)?.ready === true);
}

/** A container that is not run here (an application's image), as kwok would play it. */
export function played(name: string, image: string, state: V1ContainerState): V1ContainerStatus {
  const isRunning = state.running !== undefined;
  return { name, image, imageID: '', ready: isRunning, started: isRunning, restartCount: 0, state };
}
