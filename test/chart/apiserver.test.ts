import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { type Cluster, type Helm, startCluster, startHelm } from '../kit/kube/index.ts';
import {
  everything,
  minimal,
  podOf,
  release,
  render,
  scenarios,
  type Rendered,
  type RenderedContainer,
} from './chart.ts';
import { create, dryRun } from './server-dry-run.ts';
import { foreignDefinitions } from './foreign-definitions.ts';

const restricted = {
  'pod-security.kubernetes.io/enforce': 'restricted',
  // Warnings tell of templates, too, whose pods would be refused later.
  'pod-security.kubernetes.io/warn': 'restricted',
};

let cluster: Cluster;
let helm: Helm;
beforeAll(async () => {
  [cluster, helm] = await Promise.all([startCluster(), startHelm()]);
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: release.namespace, labels: restricted } };
  await cluster.objects.apply(namespace);
  const [own] = await render(helm, [minimal], '--show-only', 'templates/crds.yaml');
  for (const definition of [own as Rendered, ...foreignDefinitions]) await create(cluster, definition);
  const account = {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'default', namespace: release.namespace },
  };
  await cluster.objects.apply(account);
  // Those that everything.yaml names: pods of an unknown one are not admitted.
  for (const [value, name] of ['high', 'higher'].entries())
    await cluster.objects.apply({
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name },
      value,
    });
  // The API server serves the definitions, and admits pods of the priorities, a moment after they are there.
  const templates = ['templates/monitoring/monitors.yaml', 'templates/selftest.yaml'];
  const objects = await render(helm, [everything], ...templates.flatMap((file) => ['--show-only', file]));
  const prioritized = podsOf(await render(helm, [everything]));
  const isServed = async (): Promise<void> => {
    for (const object of [...objects.filter(({ apiVersion }) => apiVersion.includes('.')), ...prioritized]) {
      const { status, message } = await dryRun(cluster, object);
      if (status !== 201) throw new Error(message);
    }
  };
  await vi.waitFor(isServed, { timeout: 60_000 });
});
afterAll(async () => {
  await Promise.all([cluster.stop(), helm.remove()]);
});

/** What becomes of a workload: its pod, admitted by itself. Without its controllers there is no account but the default one. */
function podsOf(objects: readonly Rendered[]): Rendered[] {
  return objects.flatMap((object) => {
    const spec = podOf(object);
    if (spec === undefined) return [];
    const metadata = { name: object.metadata.name, namespace: release.namespace };
    return [{ apiVersion: 'v1', kind: 'Pod', metadata, spec: { ...spec, serviceAccountName: 'default' } }];
  });
}

const application: RenderedContainer & { readonly [field: string]: unknown } = {
  name: 'application',
  image: 'shop',
  securityContext: {
    runAsNonRoot: true,
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  },
};

/** A pod of somebody's, with the sidecar as the webhook is told to put it in. */
function injectedPod(objects: readonly Rendered[]): Rendered | undefined {
  const settings = objects.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name.endsWith('-injection'));
  if (settings === undefined) return undefined;
  const text = (settings['data'] as Record<string, string>)['injection.yaml'] ?? '';
  const { container, volumes } = parseYaml(text) as { container: object; volumes?: object[] };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'shop', namespace: release.namespace },
    spec: { initContainers: [{ ...container, restartPolicy: 'Always' }], containers: [application], volumes },
  };
}

describe.each(scenarios)('values $name', ({ files }) => {
  it('give objects that a real API server takes, and pods that restricted Pod Security admits', async () => {
    // It is there already: the resources of its kind could not be tried otherwise.
    const objects = (await render(helm, files)).filter(({ kind }) => kind !== 'CustomResourceDefinition');
    const injected = injectedPod(objects);
    for (const object of [...objects, ...podsOf(objects), ...(injected === undefined ? [] : [injected])]) {
      const verdict = await dryRun(cluster, object);
      expect(verdict, `${object.kind} ${object.metadata.name}`).toEqual({
        status: 201,
        message: expect.any(String),
        warnings: [],
      });
    }
  });
});

it('a pod that Pod Security refuses is refused here: the tests above would see it', async () => {
  const [pod] = podsOf(await render(helm, [minimal], '--show-only', 'templates/invalidator/deployment.yaml'));
  const spec = { ...((pod as Rendered)['spec'] as object), securityContext: {} };
  expect(await dryRun(cluster, { ...(pod as Rendered), spec })).toMatchObject({ status: 403 });
});
