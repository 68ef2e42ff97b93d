import { accessSync } from 'node:fs';
import type * as kubernetes from '@kubernetes/client-node';
import type { ApiConstructor, ApiType, KubeConfig } from '@kubernetes/client-node';
import { OperatorError } from '../core/errors.ts';

/** Longest wait for one answer of the API server, ms, where nobody asks for another one. */
const DEADLINE_MS = 10_000;
const USER_AGENT = 'tidemark';

/** The way to the API server, for the adapters that need it. */
export interface KubeClient {
  /** The library, which only those load who have this. */
  readonly library: typeof kubernetes;
  /** For watches and informers, which bring their own deadlines. */
  readonly config: KubeConfig;
  /** The namespace of the pod, or of the kubeconfig's context; `default` where neither names one, as kubectl has it. */
  readonly namespace: string;
  /** A client of one API group whose every request, its answer's body included, ends by a deadline (ms). */
  api<T extends ApiType>(type: ApiConstructor<T>, deadlineMs?: number): T;
}

/**
 * Makes a client from a kubeconfig file, or from what Kubernetes puts into a pod. Connects to nothing. Throws
 * {@link OperatorError} when neither can be used.
 *
 * The library (2.0.1) opens a connection for each request. For a few requests a minute that is cheap, and a connection that
 * died silently can then fail one request only.
 */
export async function openKubeClient(kubeconfig: string | undefined): Promise<KubeClient> {
  const library = await import('@kubernetes/client-node');
  const config = new library.KubeConfig();
  load(config, kubeconfig);
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw new OperatorError(
      `found no current context in ${kubeconfig}, expected one that names a cluster: set it by kubectl config use-context`,
    );
  }
  return {
    library,
    config,
    namespace: config.getContextObject(config.getCurrentContext())?.namespace?.trim() || 'default',
    api: (type, deadlineMs = DEADLINE_MS) =>
      new type(
        library.createConfiguration({
          baseServer: new library.ServerConfiguration(cluster.server, {}),
          authMethods: { default: config },
          promiseMiddleware: [
            {
              pre: async (request) => {
                request.setHeaderParam('User-Agent', USER_AGENT);
                request.setSignal(AbortSignal.timeout(deadlineMs));
                return request;
              },
              post: async (response) => response,
            },
          ],
        }),
      ),
  };
}

function load(config: KubeConfig, kubeconfig: string | undefined): void {
  try {
    if (kubeconfig === undefined) {
      config.loadFromCluster();
      // The library would only notice at the first request.
      accessSync(config.getCurrentCluster()?.caFile ?? '');
    } else config.loadFromFile(kubeconfig);
  } catch (error) {
    const { message } = error as Error;
    throw new OperatorError(
      kubeconfig === undefined
        ? `found no service account (${message}), expected to run in a pod with automountServiceAccountToken: or name a kubeconfig (TIDEMARK_KUBECONFIG)`
        : `the kubeconfig ${kubeconfig} cannot be used: ${message}`,
    );
  }
}
