import { setTimeout as sleep } from 'node:timers/promises';
import type { CustomObjectsApi, Watch } from '@kubernetes/client-node';
import { CACHE_NAMESPACE } from '@tidemark/proto';
import { kubeFailure } from '../core/kube-failure.ts';
import type { NamespaceResource } from '../core/effective-config.ts';
import type { NamespaceStatus } from '../core/namespace-status.ts';

/** A CacheNamespace as the API server has it. */
export interface CacheNamespace extends NamespaceResource {
  readonly generation: number;
  readonly resourceVersion: string;
  readonly status: NamespaceStatus | undefined;
}

/** Objects of one answer of a list. */
const PAGE = 500;
/** More than this many are not looked at. */
const MAX_RESOURCES = 10_000;
/** The server ends a watch after this time, s; the library takes 30 s of silence for a connection that died. */
const WATCH_S = 25;
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 15_000;

const { group, version, plural, kind } = CACHE_NAMESPACE;
const PATH = `/apis/${group}/${version}/${plural}`;

/**
 * Follows the CacheNamespaces of all namespaces until it is stopped, as client-go's reflector does: lists them, then watches from
 * there; begins anew when the server has forgotten that place (410). Whatever fails is tried again for ever, with growing pauses.
 * Needs the verbs list and watch.
 */
export async function followCacheNamespaces(options: {
  readonly api: CustomObjectsApi;
  readonly watch: Watch;
  /** Told all that there are, at first and after each change. Must not throw. */
  readonly onChange: (resources: readonly CacheNamespace[]) => void;
  /** Told each failure, and undefined once it is over. */
  readonly onFailure: (failure: Error | undefined) => void;
  readonly stop: AbortSignal;
}): Promise<void> {
  const { api, watch, onChange, onFailure, stop } = options;
  let pauseMs = FIRST_PAUSE_MS;
  while (!stop.aborted) {
    try {
      const { resources, resourceVersion } = await list(api);
      const tell = (): void => onChange([...resources.values()]);
      tell();
      onFailure(undefined);
      pauseMs = FIRST_PAUSE_MS;
      let place: string | undefined = resourceVersion;
      while (place !== undefined && !stop.aborted)
        place = await watchFrom({ watch, resourceVersion: place, resources, tell, stop });
    } catch (error) {
      if (stop.aborted) return;
      // A server that has not read its definitions yet answers 503; one that answers 404 has none of this kind.
      if (error instanceof ResourcesError && error.isUndefined) onChange([]);
      onFailure(error as Error);
      // Half to all of it, so that replicas do not come in step.
      await sleep(pauseMs * (0.5 + Math.random() / 2), undefined, { signal: stop }).catch(() => undefined);
      pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS);
    }
  }
}

/** The resources could not be read or written. */
class ResourcesError extends Error {
  override name = 'ResourcesError';
  /** The cluster has no definition of them. */
  readonly isUndefined: boolean;

  constructor(message: string, options: { readonly cause: unknown; readonly isUndefined?: boolean }) {
    super(message, options);
    this.isUndefined = options.isUndefined ?? false;
  }
}

async function list(
  api: CustomObjectsApi,
): Promise<{ resources: Map<string, CacheNamespace>; resourceVersion: string }> {
  const resources = new Map<string, CacheNamespace>();
  let page: string | undefined;
  try {
    for (;;) {
      const more = page === undefined ? {} : { _continue: page };
      const answer = (await api.listCustomObjectForAllNamespaces({
        ...{ group, version, resourcePlural: plural, limit: PAGE },
        ...more,
      })) as ListAnswer;
      for (const object of answer.items) {
        if (resources.size < MAX_RESOURCES) resources.set(object.metadata.uid, resourceOf(object));
      }
      page = answer.metadata.continue || undefined;
      if (page === undefined) return { resources, resourceVersion: answer.metadata.resourceVersion };
    }
  } catch (error) {
    const { message, status } = kubeFailure(error);
    const hint =
      status === 404
        ? ' (expected the CustomResourceDefinition, see charts/tidemark/files/crds)'
        : status === 403
          ? ' (expected the verbs list and watch on cachenamespaces.tidemark.dev)'
          : '';
    throw new ResourcesError(`CacheNamespaces cannot be listed: ${message}${hint}`, {
      cause: error,
      isUndefined: status === 404,
    });
  }
}

/** Answers where to go on; undefined where the server has forgotten that place. Rejects when the connection fails. */
async function watchFrom(options: {
  readonly watch: Watch;
  readonly resourceVersion: string;
  readonly resources: Map<string, CacheNamespace>;
  readonly tell: () => void;
  readonly stop: AbortSignal;
}): Promise<string | undefined> {
  const { watch, resources, tell, stop } = options;
  let place: string | undefined = options.resourceVersion;
  const ended = Promise.withResolvers<void>();
  const cancelled = (): void => ended.resolve();
  stop.addEventListener('abort', cancelled, { once: true });
  const watching = watch.watch(
    PATH,
    { resourceVersion: place, allowWatchBookmarks: true, timeoutSeconds: WATCH_S },
    (event: string, object: ResourceObject) => {
      if (stop.aborted) return;
      if (event === 'ERROR') {
        place = undefined;
        ended.resolve();
        return;
      }
      place = object.metadata.resourceVersion;
      if (event === 'BOOKMARK') return;
      if (event === 'DELETED') resources.delete(object.metadata.uid);
      else if (resources.size < MAX_RESOURCES || resources.has(object.metadata.uid))
        resources.set(object.metadata.uid, resourceOf(object));
      tell();
    },
    (error: (Error & { statusCode?: number }) | null | undefined) => {
      if (error === null || error === undefined) ended.resolve();
      else if (error.statusCode === 410) {
        place = undefined;
        ended.resolve();
      } else ended.reject(new ResourcesError(`CacheNamespaces cannot be watched: ${error.message}`, { cause: error }));
    },
  );
  watching.catch(ended.reject);
  try {
    await ended.promise;
  } finally {
    stop.removeEventListener('abort', cancelled);
    // Until it is connected there is nothing to cancel, so that is not waited for.
    watching.then(
      (controller) => controller.abort(),
      () => undefined,
    );
  }
  return place;
}

/**
 * Replaces the status of a resource as it was seen. Resolves to `conflict` when it has changed or is gone: whoever follows
 * the resources hears of that. Rejects with what else failed. Needs the verb update on cachenamespaces/status.
 */
export async function writeStatus(
  api: CustomObjectsApi,
  { namespace, name, resourceVersion }: CacheNamespace,
  status: NamespaceStatus,
): Promise<'written' | 'conflict'> {
  try {
    await api.replaceNamespacedCustomObjectStatus({
      ...{ group, version, plural, namespace, name },
      body: { apiVersion: `${group}/${version}`, kind, metadata: { namespace, name, resourceVersion }, status },
    });
    return 'written';
  } catch (error) {
    const failure = kubeFailure(error);
    if (failure.status === 404 || failure.status === 409) return 'conflict';
    throw new ResourcesError(`the status of ${namespace}/${name} cannot be written: ${failure.message}`, {
      cause: error,
    });
  }
}

interface ListAnswer {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly ResourceObject[];
}

/** What the API server sends; the definition's schema holds for it, metadata are always there. */
interface ResourceObject {
  readonly metadata: {
    readonly uid: string;
    readonly namespace: string;
    readonly name: string;
    readonly generation?: number;
    readonly resourceVersion: string;
    readonly creationTimestamp: string;
  };
  readonly spec?: unknown;
  readonly status?: NamespaceStatus;
}

function resourceOf({ metadata, spec, status }: ResourceObject): CacheNamespace {
  const { uid, namespace, name, generation = 0, resourceVersion, creationTimestamp } = metadata;
  const createdAtMs = Date.parse(creationTimestamp);
  return { uid, namespace, name, generation, resourceVersion, createdAtMs, spec, status, claimedBy: status?.source };
}
