import { join } from 'node:path';
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import { isRoot } from '../../account.ts';
import { KitError } from '../../error.ts';
import { programOf } from '../../programs.ts';
import type { Launch } from './container.ts';
import { environmentOf, expand, type References } from './environment.ts';
import { servicesIn, type Translation, translate } from './rewrite.ts';

/** Where a pod finds its service account: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/ */
export const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

const script = /^\/app\/(sidecar|invalidator)\/main\.js$/;
const passedOn = ['PATH', 'TMPDIR', 'LANG', 'NODE_V8_COVERAGE'];

export interface LaunchOptions {
  readonly pod: V1Pod;
  /** The pod's IP, which its own copy of the object may not have yet. */
  readonly podIp: string;
  readonly container: V1Container;
  readonly references: References;
  readonly translation: Omit<Translation, 'services'>;
  /** The local address of a Service, `name.namespace`; nothing where there is no such Service. */
  readonly serviceHost: (name: string) => Promise<string | undefined>;
  /** Host and port of the API server. */
  readonly apiServer: { readonly host: string; readonly port: string };
  /** A kubeconfig of the pod's service account, where the container mounts one. */
  readonly kubeconfig: string | undefined;
  /** An empty folder, its working directory. */
  readonly folder: string;
}

/**
 * How a container of our image starts as a process: `node /app/SERVICE/main.js` is the bundle of that service; its
 * environment and arguments are those of the spec, with names, addresses and paths as {@link translate} has them. Besides
 * it gets KUBERNETES_SERVICE_HOST and _PORT, and the invalidator's commands TIDEMARK_KUBECONFIG in place of the service
 * account's folder, whose place is the same for every pod. It runs as the user that the spec names, where we are root. A read-only root, capabilities and
 * resources are not played.
 * @throws KitError for another command than ours
 */
export async function launchOf(options: LaunchOptions): Promise<Launch> {
  const { pod, container } = options;
  const [node, file = '', ...rest] = [...(container.command ?? []), ...(container.args ?? [])];
  const service = script.exec(file)?.[1];
  if (node !== 'node' || (service !== 'sidecar' && service !== 'invalidator')) {
    throw new KitError(
      `container ${container.name} starts ${JSON.stringify([node, file])}, expected ["node", "/app/sidecar/main.js"] or ["node", "/app/invalidator/main.js"].`,
    );
  }
  const env = await environmentOf(container, { pod, podIp: options.podIp }, options.references);
  const args = rest.map((arg) => expand(arg, env));
  const services = new Map<string, string>();
  for (const name of [...Object.values(env), ...args].flatMap(servicesIn)) {
    const host = await options.serviceHost(name);
    if (host !== undefined) services.set(name, host);
  }
  const translation = { ...options.translation, services };
  const program = await programOf(service);
  return {
    command: process.execPath,
    args: [...program.args, ...args.map((arg) => translate(arg, translation))],
    env: {
      ...Object.fromEntries(passedOn.map((name) => [name, process.env[name]])),
      HOME: options.folder,
      ...program.env,
      ...Object.fromEntries(Object.entries(env).map(([name, value]) => [name, translate(value, translation)])),
      KUBERNETES_SERVICE_HOST: options.apiServer.host,
      KUBERNETES_SERVICE_PORT: options.apiServer.port,
      ...(options.kubeconfig !== undefined && service === 'invalidator' && { TIDEMARK_KUBECONFIG: options.kubeconfig }),
    },
    cwd: options.folder,
    uid: isRoot ? (container.securityContext?.runAsUser ?? pod.spec?.securityContext?.runAsUser) : undefined,
  };
}

/** The local paths of what a container mounts, by mountPath. */
export function pathsOf(container: V1Container, volumeFolder: (volume: string) => string): Map<string, string> {
  return new Map(
    (container.volumeMounts ?? []).map(({ mountPath, name, subPath = '' }) => [
      mountPath,
      join(volumeFolder(name), subPath),
    ]),
  );
}
