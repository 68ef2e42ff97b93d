import { join } from 'node:path';
import { type ApiConstructor, type ApiType, CoreV1Api, KubeConfig, VersionApi } from '@kubernetes/client-node';
import { setTimeout as wait } from 'node:timers/promises';
import { KitError, type Progress, toStderr } from '../error.ts';
import type { ProcessHandle } from '../handle.ts';
import { scratchFolder } from '../scratch.ts';
import { startControlPlane } from './control-plane.ts';
import { type Controllers, startControllers } from './controllers.ts';
import { type Routes, startEgress } from './egress.ts';
import { type Helm, startHelm } from './helm.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { type Objects, objectsOf } from './objects.ts';
import { serviceAt } from './services.ts';

const tokenSeconds = 3_600;
const controllersTimeoutMs = 240_000;

export interface ClusterOptions {
  /**
   * `api`: etcd and kube-apiserver (3 s). `all`: besides, kube-controller-manager, kube-scheduler and kwok with two nodes
   * in two zones, so that a Deployment becomes Running pods (that do nothing).
   */
  readonly components?: 'api' | 'all';
  /** With `all`: pods that have a container whose image begins with this are left to somebody else (`startPodRunner`). */
  readonly notPlayed?: string;
  readonly progress?: Progress;
}

/** A Kubernetes of a test's own, on 127.0.0.1. Nothing of it survives `stop`, or the process that started it. */
export interface Cluster {
  readonly url: string;
  /** PEM of the authority of the API server's certificate. */
  readonly ca: string;
  /** Token of a member of system:masters. */
  readonly adminToken: string;
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string;
  /** Its processes, to be paused, killed or restarted (they come back at the same address, with their data). */
  readonly etcd: ProcessHandle;
  readonly apiserver: ProcessHandle;
  readonly controllers: Omit<Controllers, 'stop'> | undefined;
  /** Where the API server's calls into the cluster's network go. */
  readonly routes: Routes;
  /** What kubectl does, as the administrator. */
  readonly objects: Objects;
  /** A typed client, as the administrator or with the kubeconfig given. */
  readonly api: <T extends ApiType>(type: ApiConstructor<T>, kubeconfig?: string) => T;
  /** The kubeconfig of a ServiceAccount that exists, with a token (1 h) that the API server gave: RBAC holds for it. Answers its path. */
  kubeconfigFor(namespace: string, serviceAccount: string): Promise<string>;
  /** What the API server says of its version, such as v1.36.3. */
  version(): Promise<string>;
  /** Runs helm as the administrator and answers its stdout; throws a KitError with its stderr. */
  helm(...args: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/**
 * Starts a cluster; settles when it takes objects, and with `all` when its nodes are ready and namespaces get their
 * service account.
 * @throws KitError where it cannot be built or does not start
 */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const progress = options.progress ?? toStderr;
  const scratch = scratchFolder('kube');
  const egress = await startEgress(join(scratch.path, 'egress.sock'));
  const stops: (() => Promise<void>)[] = [() => scratch.remove(), () => egress.stop()];
  const stop = async (): Promise<void> => {
    for (const end of stops.splice(0).toReversed()) await end();
  };
  try {
    const plane = await startControlPlane({ folder: scratch.path, egressSocket: egress.socket, progress });
    stops.push(() => plane.stop());
    const api = clientsOf(plane.kubeconfig);
    const objects = objectsOf(configOf(plane.kubeconfig));
    egress.lookUp = (clusterIp) => serviceAt(api, clusterIp);
    let controllers: Controllers | undefined;
    if (options.components === 'all') {
      const started = await startControllers({
        ...plane,
        folder: scratch.path,
        notPlayed: options.notPlayed,
        progress,
      });
      stops.push(() => started.stop());
      controllers = started;
      await objects.apply(...['a', 'b'].map(nodeOf));
      await settled(api);
    }
    let helm: Promise<Helm> | undefined;
    let issued = 0;
    return {
      url: plane.url,
      ca: plane.ca,
      adminToken: plane.adminToken,
      kubeconfig: plane.kubeconfig,
      etcd: plane.etcd,
      apiserver: plane.apiserver,
      controllers,
      routes: egress,
      objects,
      api,
      kubeconfigFor: async (namespace, serviceAccount) => {
        const token = await tokenFor(api(CoreV1Api), namespace, serviceAccount);
        const path = join(scratch.path, `${namespace}.${serviceAccount}.${(issued += 1)}.kubeconfig`);
        return writeKubeconfig(path, { url: plane.url, ca: plane.ca, token, namespace });
      },
      version: async () => (await api(VersionApi).getCode()).gitVersion,
      helm: async (...args) => {
        if (helm === undefined) {
          helm = startHelm({ kubeconfig: plane.kubeconfig, progress });
          stops.push(async () => (await helm)?.remove());
        }
        return (await helm).run(...args);
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function configOf(kubeconfig: string): KubeConfig {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  return config;
}

function clientsOf(admin: string): Cluster['api'] {
  return (type, kubeconfig) => configOf(kubeconfig ?? admin).makeApiClient(type);
}

async function tokenFor(core: CoreV1Api, namespace: string, name: string): Promise<string> {
  const request = { spec: { audiences: [], expirationSeconds: tokenSeconds } };
  const { status } = await core.createNamespacedServiceAccountToken({ namespace, name, body: request });
  const token = status?.token;
  if (token === undefined) throw new KitError(`the API server gave no token for ${namespace}/${name}.`);
  return token;
}

function nodeOf(zone: string): { apiVersion: string; kind: string; metadata: object } {
  const name = `node-${zone}`;
  const labels = { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux', 'topology.kubernetes.io/zone': zone };
  return { apiVersion: 'v1', kind: 'Node', metadata: { name, labels } };
}

/** Waits for what the controllers make of an empty cluster: ready nodes, and the service account without which no pod is admitted. */
async function settled(api: Cluster['api']): Promise<void> {
  const core = api(CoreV1Api);
  const deadline = Date.now() + controllersTimeoutMs;
  for (;;) {
    const [nodes, accounts] = await Promise.all([
      core.listNode(),
      core.listNamespacedServiceAccount({ namespace: 'default' }),
    ]);
    const ready = nodes.items.filter(
      ({ status, spec }) =>
        (spec?.taints ?? []).length === 0 &&
        status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True'),
    );
    if (ready.length === nodes.items.length && accounts.items.length > 0) return;
    if (Date.now() > deadline) {
      throw new KitError(
        `the controllers did not settle within ${controllersTimeoutMs / 1000} s: ${ready.length} of ${nodes.items.length} nodes ready, ${accounts.items.length} service accounts in the namespace default.`,
      );
    }
    await wait(50);
  }
}
