import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CoreV1Api,
  KubeConfig,
  PatchStrategy,
  setHeaderOptions,
  type KubernetesObject,
  type V1Container,
  type V1Pod,
  type V1PodStatus,
} from '@kubernetes/client-node';
import { KitError } from '../../error.ts';
import { scratchFolder } from '../../scratch.ts';
import type { Cluster } from '../cluster.ts';
import type { RunningContainer } from './container.ts';
import { LocalNetwork } from './network.ts';
import { RunningPod, type PodSurroundings } from './pod.ts';
import { LocalServices } from './services.ts';
import { follow } from './follow.ts';

export interface PodRunnerOptions {
  /** A cluster that was started with `notPlayed` for the same image. */
  readonly cluster: Cluster;
  /** Containers whose image begins with it are run; those of other images are played. */
  readonly image: string;
  /** Servers outside of the cluster: what specs call `host:port`, and where it is. */
  readonly outside: Readonly<Record<string, string>>;
}

/** The kubelet of a test, for pods with containers of our image. */
export interface PodRunner {
  /** The pods that run here now. */
  pods(): readonly RunningPod[];
  /** A container of a pod that runs here; throws a KitError where there is none. */
  container(pod: { readonly namespace: string; readonly name: string }, container: string): RunningContainer;
  /** The newest log lines of all containers, each with its pod and name, and what keeps pods waiting. */
  logs(count?: number): string[];
  /** Ends all processes; the pods stay in the API server as they are. */
  stop(): Promise<void>;
}

/**
 * Runs pods that the scheduler has placed: processes, probes, status, restarts, mounted files that follow their ConfigMaps
 * and Secrets, deletion (see RunningPod, launchOf, translate). A pod is reached at 127.R.S.n for its IP 10.R.S.n.
 */
export async function startPodRunner(options: PodRunnerOptions): Promise<PodRunner> {
  const { cluster, image } = options;
  const scratch = scratchFolder('pods');
  await chmod(scratch.path, 0o755); // processes run as the users that specs name
  const network = new LocalNetwork();
  const running = new Map<string, RunningPod>();
  const leaving = new Map<string, Promise<void>>();
  const core = cluster.api(CoreV1Api);
  const localOf = (ip: string): string | undefined =>
    [...running.values()].find(({ address }) => address.ip === ip)?.address.host;
  const services = new LocalServices({ api: cluster.api, network, localOf });
  const isOurs = (container: V1Container): boolean => container.image?.startsWith(image) === true;
  const { hostname: host, port } = new URL(cluster.url);
  const around: PodSurroundings = {
    core,
    apiServer: { host, port },
    outside: new Map(Object.entries(options.outside)),
    serviceHost: (name) => services.host(name),
    isOurs,
    report: (pod, status) => report(core, pod, status),
  };

  const onPod = (pod: V1Pod): void => {
    const { uid = '', deletionTimestamp, deletionGracePeriodSeconds = 0 } = pod.metadata ?? {};
    const all = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
    if (pod.spec?.nodeName === undefined || !all.some(isOurs)) return;
    if (deletionTimestamp !== undefined) {
      if (!leaving.has(uid)) leaving.set(uid, leave(uid, pod, deletionGracePeriodSeconds * 1000));
    } else if (!running.has(uid) && !isOver(pod)) {
      const address = network.next();
      cluster.routes.network(address.ip, address.host);
      running.set(uid, new RunningPod(pod, around, { folder: join(scratch.path, uid), address }));
    }
  };
  const leave = async (uid: string, pod: V1Pod, graceMs: number): Promise<void> => {
    await running.get(uid)?.stop(graceMs);
    forget(uid);
    const { name = '', namespace = '' } = pod.metadata ?? {};
    await core
      .deleteNamespacedPod({ name, namespace, gracePeriodSeconds: 0, body: { preconditions: { uid } } })
      .catch(() => undefined); // gone already
  };
  const forget = (uid: string): void => {
    const pod = running.get(uid);
    if (pod !== undefined) cluster.routes.network(pod.address.ip);
    running.delete(uid);
  };
  const gone = (pod: V1Pod): void => {
    const { uid = '' } = pod.metadata ?? {};
    void running
      .get(uid)
      ?.stop(0)
      .then(() => forget(uid));
  };
  const refresh = (kind: string, object: KubernetesObject): void => {
    for (const pod of running.values())
      if (pod.namespace === object.metadata?.namespace) pod.refresh(`${kind}/${object.metadata.name}`);
  };

  const config = new KubeConfig();
  config.loadFromFile(cluster.kubeconfig);
  const followed = await Promise.all([
    follow<V1Pod>(config, '/api/v1/pods', () => core.listPodForAllNamespaces(), { changed: onPod, gone }),
    follow(config, '/api/v1/configmaps', () => core.listConfigMapForAllNamespaces(), {
      changed: (object) => refresh('ConfigMap', object),
    }),
    follow(config, '/api/v1/secrets', () => core.listSecretForAllNamespaces(), {
      changed: (object) => refresh('Secret', object),
    }),
  ]);

  return {
    pods: () => [...running.values()],
    container: (wanted, name) => {
      const pod = [...running.values()].find(
        (each) => each.namespace === wanted.namespace && each.name === wanted.name,
      );
      const found = pod?.containers.get(name);
      if (found === undefined) {
        throw new KitError(`no process runs for container ${name} of pod ${wanted.namespace}/${wanted.name}.`);
      }
      return found;
    },
    logs: (count) =>
      [...running.values()].flatMap((pod) => [
        ...pod.log.tail(count).map((line) => `${pod.name} ${line}`),
        ...[...pod.containers.values()].flatMap((each) =>
          each.logs(count).map((line) => `${pod.name}/${each.name} ${line}`),
        ),
      ]),
    stop: async () => {
      for (const stop of followed) await stop();
      await Promise.all([...running.values()].map((pod) => pod.stop(5_000)));
      await Promise.all(leaving.values());
      await services.stop();
      await scratch.remove();
    },
  };
}

function isOver(pod: V1Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

async function report(core: CoreV1Api, pod: V1Pod, status: V1PodStatus): Promise<void> {
  const { name = '', namespace = '', uid } = pod.metadata ?? {};
  const body = { metadata: { uid }, status };
  await core.patchNamespacedPodStatus(
    { name, namespace, body },
    setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
  );
}
