import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiException, CoreV1Api, type V1Container, type V1Pod } from '@kubernetes/client-node';
import { scratchFolder } from '../kit/scratch.ts';
import { type Cluster, startCluster } from '../kit/kube/index.ts';
import { eventually } from '../integration/support/eventually.ts';
import { injectionCases, type InjectionCase } from './support/injection-cases.ts';
import { install, prepareWebhook, route, type Release, type Webhook } from './support/releases.ts';

// One contract for both ways to inject, on a real API server: the webhook (a process of ours) and the policies (CEL).

/** Two releases of one name, so that what they inject differs by their namespace alone. */
const webhook: Release = { name: 'tidemark', namespace: 'by-webhook' };
const policy: Release = { name: 'tidemark', namespace: 'by-policy' };
const modes = ['webhook', 'policy'] as const;
type Mode = (typeof modes)[number];
/** Applications live in namespaces that only one of the releases looks at. */
const shopOf = (mode: Mode): string => `shop-${mode}`;

const scratch = scratchFolder('injection');
let cluster: Cluster;
let process: Webhook;

beforeAll(async () => {
  cluster = await startCluster();
  for (const mode of modes) {
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    await cluster.objects.apply(
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: shopOf(mode) } },
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: `restricted-${mode}`, labels } },
      ...[shopOf(mode), `restricted-${mode}`].map((namespace) => serviceAccountIn(namespace)),
    );
    const other = modes.find((each) => each !== mode) ?? mode;
    await install(cluster, mode === 'webhook' ? webhook : policy, {
      'injection.mode': mode,
      'injection.excludedNamespaces': `{kube-system,excluded,by-${other},${shopOf(other)},restricted-${other}}`,
      'sidecar.kafkaTls.existingSecret': 'kafka-tls',
      'injection.credentialsSecret': 'credentials',
    });
  }
  await cluster.objects.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'excluded' } });
  await cluster.objects.apply(serviceAccountIn('excluded'));
  process = await prepareWebhook(cluster, { release: webhook, name: 'webhook', folder: scratch.path });
  await process.start();
  route(cluster, webhook, process.port);
  // API servers hear of policies and of trust by watches.
  for (const mode of modes) {
    await eventually(
      async () => {
        if (sidecarsIn(await create(mode, plain)).length !== 1) throw new Error(`the ${mode} does not inject yet`);
      },
      { withinMs: 20_000, everyMs: 100 },
    );
  }
});
afterAll(async () => {
  await process?.stop();
  await cluster?.stop();
  await scratch.remove();
});

const plain: InjectionCase = {
  title: 'plain',
  annotations: { 'tidemark.dev/inject': 'enabled' },
  expected: 'injected',
};

function serviceAccountIn(namespace: string) {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace } };
}

function create(mode: Mode, { annotations, spec }: InjectionCase, namespace = shopOf(mode)): Promise<V1Pod> {
  return cluster.api(CoreV1Api).createNamespacedPod({
    namespace,
    fieldValidation: 'Strict',
    body: {
      metadata: { generateName: 'pod-', annotations: { ...annotations } },
      spec: {
        automountServiceAccountToken: false,
        containers: [{ name: 'app', image: 'nobody/app:1' }],
        ...spec,
      },
    },
  });
}

function sidecarsIn({ spec }: V1Pod): readonly V1Container[] {
  return [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].filter(({ name }) => name === 'tidemark');
}

/** What a mode makes of a case: the pod without what differs from one to the next, or the words of the refusal. */
async function outcome(mode: Mode, tried: InjectionCase): Promise<object | string> {
  try {
    const { metadata, spec } = await create(mode, tried);
    const { namespace } = mode === 'webhook' ? webhook : policy;
    const text = JSON.stringify({ annotations: metadata?.annotations ?? {}, spec });
    return JSON.parse(text.replaceAll(`.${namespace}.svc`, '.RELEASE.svc')) as object;
  } catch (error) {
    if (!(error instanceof ApiException)) throw error;
    return String((JSON.parse(error.body as string) as { message?: string }).message);
  }
}

describe.each(injectionCases)('$title', (tried) => {
  it.each(modes)('by %s', async (mode) => {
    const found = await outcome(mode, tried);
    if (tried.expected instanceof RegExp) {
      expect(found).toEqual(expect.stringMatching(/tidemark cannot inject its sidecar: /));
      expect(found).toEqual(expect.stringMatching(tried.expected));
      return;
    }
    expect(found).toBeTypeOf('object');
    const { annotations, spec } = found as { annotations: Record<string, string>; spec: V1Pod['spec'] };
    if (tried.expected === 'left alone') {
      expect(sidecarsIn({ spec: spec! })).toEqual([]);
      expect(annotations['tidemark.dev/status']).toBeUndefined();
      return;
    }
    expect(spec?.initContainers?.[0]).toMatchObject({ name: 'tidemark', restartPolicy: 'Always' });
    expect(sidecarsIn({ spec: spec! })).toHaveLength(1);
    expect(annotations['tidemark.dev/status']).toBe('{"source":"main","mode":"native"}');
    for (const container of [...(spec?.containers ?? []), ...(spec?.initContainers ?? []).slice(1)])
      expect(container.env?.filter(({ name }) => name === 'TIDEMARK_URL')).toHaveLength(1);
  });

  it('alike by both', async () => {
    const [byWebhook, byPolicy] = [await outcome('webhook', tried), await outcome('policy', tried)];
    // The words of a refusal may differ: CEL cannot say as much.
    if (typeof byWebhook === 'string') expect(byPolicy).toBeTypeOf('string');
    else expect(byPolicy).toEqual(byWebhook);
  });
});

describe.each(modes)('injection by %s', (mode) => {
  it('leaves excluded namespaces alone', async () => {
    expect(sidecarsIn(await create(mode, plain, 'excluded'))).toEqual([]);
    const own = mode === 'webhook' ? webhook.namespace : policy.namespace;
    await cluster.objects.apply(serviceAccountIn(own));
    expect(sidecarsIn(await create(mode, plain, own))).toEqual([]);
  });

  it('changes nothing more when a pod comes back as it was injected', async () => {
    const { metadata, spec } = await create(mode, plain);
    const again = await create(mode, {
      ...plain,
      annotations: metadata?.annotations ?? {},
      ...(spec && { spec }),
    });
    expect(again.spec).toEqual(spec);
  });

  it('gives pods what restricted namespaces admit', async () => {
    const securityContext = {
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    };
    const spec = { containers: [{ name: 'app', image: 'nobody/app:1', securityContext }] };
    const annotations = { ...plain.annotations, 'config.tidemark.dev/socket': 'enabled' };
    const pod = await create(mode, { ...plain, annotations, spec }, `restricted-${mode}`);
    expect(sidecarsIn(pod)).toHaveLength(1);
  });
});
