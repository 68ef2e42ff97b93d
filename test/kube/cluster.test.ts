import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { ApiException, CoreV1Api, type V1ConfigMap, type V1Pod } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { makeAuthority } from '../kit/certificates.ts';
import { type Cluster, type Manifest, kubernetesVersion, startCluster } from '../kit/kube/index.ts';

const soon = { timeout: 60_000, interval: 50 };

function namespaced(kind: string, name: string, fields: object, apiVersion = 'v1'): Manifest {
  return { apiVersion, kind, metadata: { name, namespace: 'shop' }, ...fields };
}

const namespace: Manifest = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } };

describe('a cluster of etcd and kube-apiserver', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster();
    await cluster.objects.apply(namespace);
  });
  afterAll(() => cluster.stop());

  it('lets a service account do what its role says, and nothing else', async () => {
    const subjects = [{ kind: 'ServiceAccount', name: 'reader', namespace: 'shop' }];
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' };
    const rules = [{ apiGroups: [''], resources: ['configmaps'], resourceNames: ['rules'], verbs: ['get'] }];
    await cluster.objects.apply(
      namespaced('ServiceAccount', 'reader', {}),
      namespaced('Role', 'reader', { rules }, 'rbac.authorization.k8s.io/v1'),
      namespaced('RoleBinding', 'reader', { roleRef, subjects }, 'rbac.authorization.k8s.io/v1'),
      namespaced('ConfigMap', 'rules', { data: { a: 'b' } }),
    );
    const core = cluster.api(CoreV1Api, await cluster.kubeconfigFor('shop', 'reader'));
    // The API server hears of roles by a watch.
    const rulesMap = await vi.waitFor(() => core.readNamespacedConfigMap({ namespace: 'shop', name: 'rules' }), soon);
    expect(rulesMap.data).toEqual({ a: 'b' });
    const refused = core.readNamespacedConfigMap({ namespace: 'shop', name: 'kube-root-ca.crt' });
    await expect(refused).rejects.toSatisfy((error) => error instanceof ApiException && error.code === 403);
  });

  it('is to helm and to charts the version that it is', async () => {
    const answer = await cluster.helm('list', '--all-namespaces', '--output', 'json');
    expect(JSON.parse(answer)).toEqual([]);
    const nobody = 'kube-version-of-nobody';
    const missing = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: nobody, namespace: 'shop' } };
    expect(await cluster.objects.get(missing)).toBeUndefined();
    const response = await cluster.version();
    expect(response).toBe(`v${kubernetesVersion}`);
  });

  it('comes back with its data and at its address after a kill', async () => {
    await cluster.objects.apply(namespaced('ConfigMap', 'kept', { data: { a: '1' } }));
    await cluster.apiserver.restart('SIGKILL');
    const kept = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'kept', namespace: 'shop' } };
    expect((await cluster.objects.get<V1ConfigMap>(kept))?.data).toEqual({ a: '1' });
  });

  it('calls a webhook that is a local process, by the route of its Service', async () => {
    const authority = await makeAuthority('webhook');
    const { certFile, keyFile } = await authority.issue('shop-hook', ['hook.shop.svc']);
    const seen: string[] = [];
    const server = createServer(
      { cert: await readFile(certFile), key: await readFile(keyFile) },
      (request, response) => {
        void text(request).then((body) => {
          const { request: review } = JSON.parse(body) as { request: { uid: string; name: string } };
          seen.push(review.name);
          const status = { message: 'the hook says no' };
          const answer = { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' };
          response.setHeader('Content-Type', 'application/json');
          response.end(JSON.stringify({ ...answer, response: { uid: review.uid, allowed: false, status } }));
        });
      },
    );
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const service = { namespace: 'shop', name: 'hook', port: 443 };
    const clientConfig = { service, caBundle: (await readFile(authority.caFile)).toString('base64') };
    const rules = [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['configmaps'] }];
    const webhook = {
      name: 'hook.tidemark.dev',
      clientConfig,
      rules,
      sideEffects: 'None',
      admissionReviewVersions: ['v1'],
      timeoutSeconds: 30,
    };
    const configuration = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: 'hook' },
      webhooks: [webhook],
    };
    try {
      await cluster.objects.apply(namespaced('Service', 'hook', { spec: { ports: [{ port: 443 }] } }), configuration);
      const create = (): Promise<unknown> =>
        cluster.objects.apply(namespaced('ConfigMap', 'hooked', { data: {} })).catch((error: unknown) => String(error));
      // Without a route the API server repeats the egress's reason; a new webhook is called a moment after it is made.
      await vi.waitFor(async () => expect(await create()).toContain('no route leads to shop/hook:443'), soon);
      cluster.routes.service(service, (server.address() as AddressInfo).port);
      expect(await create()).toContain('the hook says no');
      expect(seen).toEqual(['hooked']);
    } finally {
      cluster.routes.service(service);
      await cluster.objects.delete(configuration);
      server.close();
      await authority.remove();
    }
  });
});

describe('a cluster with controllers and nodes', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ components: 'all' });
    await cluster.objects.apply(namespace);
  });
  afterAll(() => cluster.stop());

  it('makes running pods of a Deployment, on nodes in two zones, and takes them away', async () => {
    const labels = { app: 'web' };
    const topologySpreadConstraints = [
      {
        maxSkew: 1,
        topologyKey: 'topology.kubernetes.io/zone',
        whenUnsatisfiable: 'DoNotSchedule',
        labelSelector: { matchLabels: labels },
      },
    ];
    const template = {
      metadata: { labels },
      spec: { topologySpreadConstraints, containers: [{ name: 'web', image: 'nobody/web:1' }] },
    };
    const deployment = namespaced(
      'Deployment',
      'web',
      { spec: { replicas: 2, selector: { matchLabels: labels }, template } },
      'apps/v1',
    );
    await cluster.objects.apply(deployment);
    const pods = (): Promise<V1Pod[]> => cluster.objects.list<V1Pod>('v1', 'Pod', 'shop', 'app=web');
    await vi.waitFor(async () => {
      const found = await pods();
      expect(found.map(({ status }) => status?.phase)).toEqual(['Running', 'Running']);
      expect(new Set(found.map(({ spec }) => spec?.nodeName))).toEqual(new Set(['node-a', 'node-b']));
      expect(new Set(found.map(({ status }) => status?.podIP)).size).toBe(2);
    }, soon);
    await cluster.objects.delete({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace: 'shop' },
    });
    await vi.waitFor(async () => expect(await pods()).toEqual([]), soon);
  });
});
