import { setTimeout as sleep } from 'node:timers/promises';
import {
  V1MicroTime,
  type CoordinationV1Api,
  type V1Lease,
  type V1LeaseSpec,
  type Watch,
} from '@kubernetes/client-node';
import { kubeFailure, type KubeFailure } from '../core/kube-failure.ts';
import type { LeaseRecord, LeaseStore, StoredLease } from '../core/ports.ts';

/** A watch that ended is begun again after this time, ms; attempts go on without it. */
const WATCH_AGAIN_MS = 1000;

export interface KubeLeaseOptions {
  readonly api: CoordinationV1Api;
  readonly watch: Watch;
  readonly namespace: string;
  readonly name: string;
}

/**
 * A Lease object of the API server (coordination.k8s.io/v1) as a {@link LeaseStore}. Needs the verbs get, update and watch on that name,
 * and create where the object is not there from the beginning.
 */
export function openKubeLease({ api, watch, namespace, name }: KubeLeaseOptions): LeaseStore {
  /** The object as it was last seen: what others keep in it (labels, say) goes back with each write. */
  let newest: V1Lease | undefined;

  const stored = (lease: V1Lease): StoredLease => {
    newest = lease;
    return storedLease(lease);
  };
  const specOf = (record: LeaseRecord): V1LeaseSpec => ({
    // Without a holder the field is left out, as client-go does.
    ...(record.holder !== '' && { holderIdentity: record.holder }),
    leaseDurationSeconds: record.durationS,
    acquireTime: new V1MicroTime(record.acquiredAtMs),
    renewTime: new V1MicroTime(record.renewedAtMs),
    leaseTransitions: record.transitions,
  });
  /** Answers what the server did, or what a status of its stands for. */
  const ask = async <T>(
    request: () => Promise<V1Lease>,
    meaning: { readonly of: readonly number[]; readonly is: T },
  ): Promise<StoredLease | T> => {
    try {
      return stored(await request());
    } catch (error) {
      const failure = kubeFailure(error);
      if (meaning.of.includes(failure.status ?? 0)) return meaning.is;
      throw new LeaseError(`lease ${namespace}/${name}: ${failure.message}${hint(failure)}`, { cause: error });
    }
  };
  return {
    read: () => ask(() => api.readNamespacedLease({ namespace, name }), { of: [404], is: undefined }),
    create: (record) =>
      ask(
        () => {
          newest = undefined;
          return api.createNamespacedLease({ namespace, body: { metadata: { name }, spec: specOf(record) } });
        },
        { of: [409], is: 'conflict' },
      ),
    update: (record, version) =>
      ask(
        () => {
          // Its uid too: without one, the API server would make a lease anew that was deleted.
          const metadata = Object.assign(newest?.metadata ?? {}, { name, resourceVersion: version });
          return api.replaceNamespacedLease({ namespace, name, body: { metadata, spec: specOf(record) } });
        },
        { of: [404, 409], is: 'conflict' },
      ),
    async watch(onChange, stop) {
      while (!stop.aborted) {
        await watchOnce({ watch, namespace, name, stop, onChange });
        await sleep(WATCH_AGAIN_MS, undefined, { signal: stop }).catch(() => undefined);
      }
    },
  };
}

/** The lease could not be read or written. */
class LeaseError extends Error {
  override name = 'LeaseError';
}

/** RBAC cannot limit `create` to a name, so a role may well lack it: the object should be there then. */
function hint({ status }: KubeFailure): string {
  return status === 403 ? ' (expected the verbs get, update and watch on this name, and create unless it exists)' : '';
}

function storedLease({ metadata, spec }: V1Lease): StoredLease {
  return {
    version: metadata?.resourceVersion ?? '',
    record: {
      holder: spec?.holderIdentity ?? '',
      durationS: spec?.leaseDurationSeconds ?? 0,
      acquiredAtMs: timeOf(spec?.acquireTime),
      renewedAtMs: timeOf(spec?.renewTime),
      transitions: spec?.leaseTransitions ?? 0,
    },
  };
}

/** A watch gives text where the client gives dates. */
function timeOf(time: Date | string | undefined): number {
  return time === undefined ? 0 : new Date(time).getTime();
}

/** Begins with the lease as it is, and ends with the connection or after a silence (30 s, by the library). */
async function watchOnce(options: {
  readonly watch: Watch;
  readonly namespace: string;
  readonly name: string;
  readonly stop: AbortSignal;
  readonly onChange: (lease: StoredLease) => void;
}): Promise<void> {
  const { watch, namespace, name, stop, onChange } = options;
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  const cancelled = (): void => end();
  stop.addEventListener('abort', cancelled, { once: true });
  const watching = watch.watch(
    `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/leases`,
    // A role that is limited to this name may watch by it (kubernetes.io, "Referring to resources").
    { fieldSelector: `metadata.name=${name}` },
    (kind: string, lease: V1Lease) => {
      if (kind === 'ADDED' || kind === 'MODIFIED') onChange(storedLease(lease));
    },
    () => end(),
  );
  // It rejects, and tells no end, where it cannot even ask: a token or an authority's file that is not there at the moment.
  watching.catch(() => end());
  await ended;
  stop.removeEventListener('abort', cancelled);
  // Until it is connected there is nothing to cancel, so that is not waited for.
  watching.then(
    (controller) => controller.abort(),
    () => undefined,
  );
}
