import type { V1Pod } from '@kubernetes/client-node';
import { expect } from 'vitest';
import { App } from '../../integration/support/app.ts';
import { eventually } from '../../integration/support/eventually.ts';
import type { Manifest } from '../../kit/kube/index.ts';
import { applicationNamespace, type World } from './world.ts';

const labels = { app: 'shop' };
const container = {
  name: 'shop',
  image: 'example.org/shop:1',
  securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
};

/** A workload that asks for its cache; its own image is played. */
export function deployment(annotations: Readonly<Record<string, string>>): Manifest {
  const securityContext = { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'shop', namespace: applicationNamespace },
    spec: {
      replicas: 2,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels, annotations: { 'tidemark.dev/inject': 'enabled', ...annotations } },
        spec: { securityContext, terminationGracePeriodSeconds: 5, containers: [container] },
      },
    },
  };
}

/**
 * Waits until a pod that asks for its cache would get it: the API server takes up new policies and webhooks a moment (1 s)
 * after they are made, and what is created before goes without.
 */
export async function injected(world: World): Promise<void> {
  const { template } = deployment({})['spec'] as { template: { metadata: object; spec: object } };
  const metadata = { ...template.metadata, name: 'would-be', namespace: applicationNamespace };
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec: template.spec };
  await eventually(
    async () => {
      const { spec } = await world.cluster.objects.dryRun<V1Pod>(pod);
      expect(spec?.initContainers?.map(({ name }) => name)).toEqual(['tidemark']);
    },
    { withinMs: 60_000, everyMs: 100 },
  );
}

/** A pod of the application, and what its container would reach at TIDEMARK_URL. */
export interface Replica {
  readonly pod: V1Pod;
  readonly app: App;
  /** Local path of the Unix socket that pod and sidecar share, where they do. */
  readonly socket: string | undefined;
  /** The process of its sidecar, and how often it was started again. */
  readonly process: () => { readonly pid: number | undefined; readonly restarts: number };
}

/** Waits until two pods with these annotations are ready, and none is left without them. */
export async function ready(world: World, annotations: Readonly<Record<string, string>>): Promise<Replica[]> {
  const pods = await eventually(
    async () => {
      const found = await world.pods(applicationNamespace, 'app=shop');
      expect(found).toHaveLength(2);
      for (const { metadata, status } of found) {
        expect(metadata?.annotations).toMatchObject(annotations);
        expect(status?.conditions).toContainEqual(expect.objectContaining({ type: 'Ready', status: 'True' }));
      }
      return found;
    },
    { withinMs: 120_000, everyMs: 100 },
  );
  return pods.map((pod) => {
    const { name = '', namespace = '' } = pod.metadata ?? {};
    const sidecar = () => world.runner.container({ name, namespace }, 'tidemark');
    return {
      pod,
      app: new App(`http://${sidecar().address(7070)}`),
      socket: sidecar().env('TIDEMARK_SOCKET'),
      process: () => ({ pid: sidecar().pid, restarts: sidecar().restarts }),
    };
  });
}

/** Waits until all of them hand out leases in a namespace: they know it, and its rules are served. */
export async function cacheable(replicas: readonly Replica[], namespace: string): Promise<void> {
  for (const { app } of replicas) {
    await eventually(
      async () => {
        const answer = await app.get(namespace, 'is-it-cacheable', { 'cache-control': 'no-cache' });
        expect(answer).toMatchObject({ lease: expect.any(String) });
      },
      { withinMs: 60_000, everyMs: 20 },
    );
  }
}

/**
 * Reads a product through each sidecar, until it is a hit there, then commits another price and waits until no sidecar
 * answers the old one. Answers how long that took, in ms.
 */
export async function changeReachesAll(
  world: World,
  replicas: readonly Replica[],
  cached: { readonly namespace: string; readonly key: string; readonly id: number },
): Promise<number> {
  const { namespace, key, id } = cached;
  const withinMs = 60_000;
  const load = async (): Promise<string> => {
    const [row] = await world.sql<{ price: number }>('select price from products where id = $1', [id]);
    return `${row?.price}`;
  };
  const before = await load();
  for (const { app } of replicas) {
    await eventually(
      async () => {
        expect(await app.read(namespace, key, load)).toBe(before);
        expect(await app.get(namespace, key)).toMatchObject({ status: 200, body: before });
      },
      { withinMs },
    );
  }
  await world.sql('update products set price = price + 1 where id = $1', [id]);
  const startMs = performance.now();
  for (const { app } of replicas) {
    await eventually(async () => expect((await app.get(namespace, key)).body).not.toBe(before), { withinMs });
    expect(await app.read(namespace, key, load)).toBe(await load());
  }
  return performance.now() - startMs;
}
