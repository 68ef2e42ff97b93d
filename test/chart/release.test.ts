import { AuthorizationV1Api, type V1ConfigMap, type V1Lease, type V1Secret } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, type Manifest, startCluster } from '../kit/kube/index.ts';
import { chart, minimal } from './chart.ts';

// A release in a real API server without controllers: what helm makes, keeps and removes. Its processes run in test/e2e.

const namespace = 'caches';
const files = ['--values', minimal, '--set', 'redis.url=redis://r:1'];
const definition = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'cachenamespaces.tidemark.dev' },
} as const;

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
  for (const name of [namespace, 'others'])
    await cluster.objects.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
});
afterAll(() => cluster.stop());

const install = (name: string, to: string, ...more: readonly string[]): Promise<string> =>
  cluster.helm('upgrade', '--install', name, chart, '--namespace', to, ...files, ...more);

/** Kinds and names of everything that the release left in the API server. */
async function present(release: string): Promise<string[]> {
  const kinds: readonly (readonly [apiVersion: string, kind: string])[] = [
    ['v1', 'Secret'],
    ['v1', 'ConfigMap'],
    ['v1', 'Service'],
    ['v1', 'ServiceAccount'],
    ['v1', 'Pod'],
    ['apps/v1', 'Deployment'],
    ['policy/v1', 'PodDisruptionBudget'],
    ['networking.k8s.io/v1', 'NetworkPolicy'],
    ['coordination.k8s.io/v1', 'Lease'],
    ['rbac.authorization.k8s.io/v1', 'Role'],
    ['rbac.authorization.k8s.io/v1', 'RoleBinding'],
    ['rbac.authorization.k8s.io/v1', 'ClusterRole'],
    ['rbac.authorization.k8s.io/v1', 'ClusterRoleBinding'],
    ['admissionregistration.k8s.io/v1', 'MutatingWebhookConfiguration'],
    ['apiextensions.k8s.io/v1', 'CustomResourceDefinition'],
  ];
  const found: string[] = [];
  for (const [apiVersion, kind] of kinds) {
    for (const { metadata } of await cluster.objects.list(apiVersion, kind)) {
      if (metadata?.annotations?.['meta.helm.sh/release-name'] === release) found.push(`${kind}/${metadata.name}`);
    }
  }
  return found;
}

const lease = {
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name: 'demo-tidemark-invalidator', namespace },
};
const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'demo-tidemark-webhook-tls', namespace } };
const document = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'demo-tidemark-config', namespace } };
const mutating = {
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind: 'MutatingWebhookConfiguration',
  metadata: { name: 'demo-tidemark.caches' },
};

describe('a release', () => {
  it('is installed, and says what to do next and what will stay', async () => {
    const notes = await install('demo', namespace);
    expect(notes).toContain('kubectl -n caches rollout status deployment/demo-tidemark-invalidator');
    expect(notes).toContain('helm test demo -n caches --logs');
    expect(notes).toContain('"tidemark.dev/inject":"enabled"');
    expect(notes).toContain("select pg_drop_replication_slot('tidemark_main');");
    expect(notes).toContain('no namespaces are configured yet');
  });

  it('keeps through an upgrade what its processes have written', async () => {
    const holder = { holderIdentity: 'somebody', leaseTransitions: 3 };
    const data = { 'tls.crt': 'Yw==', 'tls.key': 'aw==', 'ca.crt': 'Y2E=' };
    await cluster.objects.apply({ ...lease, spec: holder }, { ...secret, data });
    await install('demo', namespace, '--set', 'namespaces.rates.invalidation=ttl_only');
    expect((await cluster.objects.get<V1Lease>(lease))?.spec).toMatchObject(holder);
    expect((await cluster.objects.get<V1Secret>(secret))?.data).toEqual(data);
    const text = (await cluster.objects.get<V1ConfigMap>(document))?.data?.['tidemark.yaml'];
    expect(text).toContain('"rates":\n    source: "main"\n    invalidation: ttl_only');
  });

  it('changes namespaces without a rollout, and the source with one', async () => {
    const annotations = async (): Promise<unknown> => {
      const name = 'demo-tidemark-invalidator';
      const found = await cluster.objects.get({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name, namespace },
      });
      return (found as unknown as { spec: { template: { metadata: { annotations: unknown } } } }).spec.template.metadata
        .annotations;
    };
    const before = await annotations();
    await install('demo', namespace);
    expect(await annotations()).toEqual(before);
    await install('demo', namespace, '--set', 'source.l2.buckets=4');
    expect(await annotations()).not.toEqual(before);
    await cluster.helm('rollback', 'demo', '--namespace', namespace);
    expect(await annotations()).toEqual(before);
  });

  it('leaves the definition of CacheNamespace to the release that installed it, so that a cluster can have many', async () => {
    await install('second', 'others');
    expect(await present('second')).not.toContain('CustomResourceDefinition/cachenamespaces.tidemark.dev');
    expect(await present('demo')).toContain('CustomResourceDefinition/cachenamespaces.tidemark.dev');
    const owned = (name: string, by: string): Manifest => {
      const annotations = { 'meta.helm.sh/release-name': name, 'meta.helm.sh/release-namespace': by };
      return { ...definition, metadata: { ...definition.metadata, annotations } };
    };
    await cluster.objects.apply(owned('second', 'others'));
    await install('second', 'others');
    await cluster.objects.apply(owned('demo', namespace));
    await cluster.helm('uninstall', 'second', '--namespace', 'others');
    expect(await present('second')).toEqual([]);
    expect(await cluster.objects.get(definition)).toBeDefined();
  });

  it('may do what its processes need, and nothing else', async () => {
    const roles = ['invalidator', 'applier', 'webhook'];
    const accounts = await Promise.all(roles.map((role) => cluster.kubeconfigFor(namespace, `demo-tidemark-${role}`)));
    const may = async (
      role: string,
      [verb = '', group = '', resource = '', name = '', where = namespace]: readonly string[],
    ): Promise<boolean> => {
      const api = cluster.api(AuthorizationV1Api, accounts[roles.indexOf(role)]);
      const [kind = '', subresource = ''] = resource.split('/');
      const resourceAttributes = { verb, group, resource: kind, subresource, name, namespace: where };
      const { status } = await api.createSelfSubjectAccessReview({ body: { spec: { resourceAttributes } } });
      return status?.allowed === true;
    };
    const leases = 'coordination.k8s.io';
    const admission = 'admissionregistration.k8s.io';
    const allowed: Readonly<Record<string, readonly (readonly string[])[]>> = {
      invalidator: [
        ...['get', 'update', 'watch'].map((verb) => [verb, leases, 'leases', lease.metadata.name]),
        ...['get', 'list', 'watch'].map((verb) => [verb, 'tidemark.dev', 'cachenamespaces', '', 'shop']),
        ['update', 'tidemark.dev', 'cachenamespaces/status', 'a', 'shop'],
      ],
      applier: [],
      webhook: [
        ...['get', 'update'].map((verb) => [verb, '', 'secrets', secret.metadata.name]),
        ...['get', 'patch'].map((verb) => [
          verb,
          admission,
          'mutatingwebhookconfigurations',
          mutating.metadata.name,
          '',
        ]),
      ],
    };
    const refused = [
      ['create', leases, 'leases'],
      ['get', leases, 'leases', 'another'],
      ['delete', leases, 'leases', lease.metadata.name],
      ['get', '', 'secrets', 'demo-tidemark-credentials'],
      ['list', '', 'secrets'],
      ['create', '', 'secrets'],
      ['list', '', 'pods'],
      ['update', 'tidemark.dev', 'cachenamespaces', 'a', 'shop'],
      ['patch', admission, 'mutatingwebhookconfigurations', 'another', ''],
      ['create', admission, 'mutatingwebhookconfigurations', '', ''],
    ];
    for (const role of roles) {
      for (const asked of allowed[role] ?? []) expect(await may(role, asked), `${role}: ${asked.join(' ')}`).toBe(true);
      for (const asked of refused) expect(await may(role, asked), `${role}: ${asked.join(' ')}`).toBe(false);
    }
    expect(await may('applier', ['get', leases, 'leases', lease.metadata.name])).toBe(false);
  });

  it('leaves nothing behind but the definition', async () => {
    await cluster.helm('uninstall', 'demo', '--namespace', namespace);
    expect(await present('demo')).toEqual(['CustomResourceDefinition/cachenamespaces.tidemark.dev']);
    expect(await cluster.objects.get(lease)).toBeUndefined();
    expect(await cluster.objects.get(secret)).toBeUndefined();
    await install('demo', namespace);
    await cluster.helm('uninstall', 'demo', '--namespace', namespace);
  });

  it('warns of what it cannot do: one replica, and a Redis whose URL sidecars may not know', async () => {
    const set = 'invalidator.replicas=1,redis.url=redis://:secret@r:1,postgres.dropSlotOnUninstall=true';
    const notes = await install('demo', namespace, '--set', set, '--dry-run=server');
    expect(notes).toContain('sidecars do not use Redis');
    expect(notes).toContain('invalidator.replicas=1');
    expect(notes).toContain('"helm uninstall" drops the replication slot');
  });
});
