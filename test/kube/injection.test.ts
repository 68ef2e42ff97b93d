import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiException, CoreV1Api, type V1Container, type V1Pod } from '@kubernetes/client-node';
import { scratchFolder } from '../kit/scratch.ts';
import { type Cluster, type Manifest, startCluster } from '../kit/kube/index.ts';
import { eventually } from '../integration/support/eventually.ts';
import { injectionCases, type InjectionCase } from './support/injection-cases.ts';
import { injectionPods } from './support/injection-pods.ts';
import { install, prepareWebhook, route, type Release, type Webhook } from './support/releases.ts';

// One contract for both ways to inject, on a real API server: the webhook (a process of ours) and the policies (CEL).

/** A way to inject. Each has a release of its own, of one name, so that what they inject differs by their namespace alone. */
interface Way {
  readonly mode: 'webhook' | 'policy';
  readonly sidecar: 'native' | 'container';
  readonly release: Release;
  /** Namespaces of applications, which only this release looks at. */
  readonly shop: string;
  readonly restricted: string;
}

const ways = (['native', 'container'] as const).flatMap((sidecar) =>
  (['webhook', 'policy'] as const).map((mode): Way => {
    const id = `${mode}-${sidecar}`;
    return {
      mode,
      sidecar,
      release: { name: 'tidemark', namespace: `by-${id}` },
      shop: `shop-${id}`,
      restricted: `restricted-${id}`,
    };
  }),
);

const plain: InjectionCase = {
  title: 'plain',
  annotations: { 'tidemark.dev/inject': 'enabled' },
  expected: 'injected',
};

const scratch = scratchFolder('injection');
const processes: Webhook[] = [];
let cluster: Cluster;

beforeAll(async () => {
  cluster = await startCluster();
  await cluster.objects.apply(namespace('excluded'), serviceAccountIn('excluded'));
  for (const { release, shop, restricted } of ways) {
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    await cluster.objects.apply(namespace(shop), namespace(restricted, labels), namespace(release.namespace));
    for (const each of [shop, restricted, release.namespace]) await cluster.objects.apply(serviceAccountIn(each));
  }
  for (const way of ways) {
    const others = ways.filter((each) => each !== way);
    const excluded = others.flatMap(({ release, shop, restricted }) => [release.namespace, shop, restricted]);
    await install(cluster, way.release, {
      'injection.mode': way.mode,
      'injection.sidecarMode': way.sidecar,
      'injection.excludedNamespaces': `{${['kube-system', 'excluded', ...excluded].join(',')}}`,
      'sidecar.kafkaTls.existingSecret': 'kafka-tls',
      'sidecar.caBundle.configMap': 'authorities',
      'injection.credentialsSecret': 'credentials',
      // What is tested is what is injected: a machine that is busy shall not look like a webhook that is away.
      'injection.timeoutSeconds': '30',
    });
    if (way.mode === 'policy') continue;
    const webhook = await prepareWebhook(cluster, {
      release: way.release,
      name: `webhook-${way.sidecar}`,
      folder: scratch.path,
    });
    processes.push(webhook);
    await webhook.start();
    route(cluster, way.release, webhook.port);
  }
  // API servers hear of policies and of trust by watches.
  for (const way of ways) {
    await eventually(
      async () => {
        if (sidecarsIn(await create(way, plain)).length !== 1)
          throw new Error(`${way.release.namespace}: nothing is injected`);
      },
      { withinMs: 60_000, everyMs: 100 },
    );
  }
});
afterAll(async () => {
  for (const each of processes) await each.stop();
  await cluster?.stop();
  await scratch.remove();
});

function namespace(name: string, labels: Readonly<Record<string, string>> = {}) {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

function serviceAccountIn(name: string) {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: name } };
}

interface CreateOptions {
  readonly within?: string;
  readonly dryRun?: 'All';
}

function create(way: Way, { annotations, spec }: InjectionCase, options: CreateOptions = {}): Promise<V1Pod> {
  return cluster.api(CoreV1Api).createNamespacedPod({
    namespace: options.within ?? way.shop,
    ...(options.dryRun && { dryRun: options.dryRun }),
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

/** What becomes of a case: the pod without what differs from one to the next, or the words of the refusal. */
async function outcome(way: Way, tried: InjectionCase, options: CreateOptions = {}): Promise<object | string> {
  try {
    const { metadata, spec } = await create(way, tried, options);
    const text = JSON.stringify({ annotations: metadata?.annotations ?? {}, spec });
    return JSON.parse(text.replaceAll(`.${way.release.namespace}.svc`, '.RELEASE.svc')) as object;
  } catch (error) {
    if (!(error instanceof ApiException)) throw error;
    return String((JSON.parse(error.body as string) as { message?: string }).message);
  }
}

describe.each(['native', 'container'] as const)('a sidecar that is %s', (sidecar) => {
  const both = ways.filter((way) => way.sidecar === sidecar);

  it.each(injectionCases)('$title', async (tried) => {
    const outcomes = await Promise.all(both.map((way) => outcome(way, tried)));
    for (const found of outcomes) {
      if (tried.expected instanceof RegExp) {
        expect(found).toEqual(expect.stringMatching(/tidemark cannot inject its sidecar: /));
        expect(found).toEqual(expect.stringMatching(tried.expected));
      } else {
        expect(found).toBeTypeOf('object');
        const { annotations, spec } = found as { annotations: Record<string, string>; spec: PodSpec };
        if (tried.expected === 'injected') expectInjected(sidecar, annotations, spec);
        else expect([sidecarsIn({ spec }), annotations['tidemark.dev/status']]).toEqual([[], undefined]);
      }
    }
    // The words of a refusal may differ: CEL cannot say as much.
    if (!(tried.expected instanceof RegExp)) expect(outcomes[1]).toEqual(outcomes[0]);
  });

  it('becomes the same by webhook and by policy, whatever pods look like', async () => {
    await fc.assert(
      fc.asyncProperty(injectionPods, async (pod) => {
        const [byWebhook, byPolicy] = await Promise.all(both.map((way) => outcome(way, pod, { dryRun: 'All' })));
        if (typeof byWebhook === 'string') expect(byPolicy).toBeTypeOf('string');
        else expect(byPolicy).toEqual(byWebhook);
      }),
      { numRuns: 60 },
    );
  }, 240_000);
});

type PodSpec = NonNullable<V1Pod['spec']>;

function expectInjected(sidecar: Way['sidecar'], annotations: Readonly<Record<string, string>>, spec: PodSpec): void {
  const { containers, initContainers = [] } = spec;
  const isNative = sidecar === 'native';
  const [found, ...others] = isNative ? [...initContainers, ...containers] : containers;
  expect(found).toMatchObject({ name: 'tidemark', ...(isNative && { restartPolicy: 'Always' }) });
  expect(sidecarsIn({ spec })).toHaveLength(1);
  expect(annotations['tidemark.dev/status']).toBe(`{"source":"main","mode":"${sidecar}"}`);
  for (const { env } of others) expect(env?.filter(({ name }) => name === 'TIDEMARK_URL')).toHaveLength(1);
}

describe.each(ways)('injection by $mode, $sidecar', (way) => {
  it('leaves excluded namespaces alone, that of the release among them', async () => {
    expect(sidecarsIn(await create(way, plain, { within: 'excluded' }))).toEqual([]);
    expect(sidecarsIn(await create(way, plain, { within: way.release.namespace }))).toEqual([]);
  });

  it('changes nothing more when a pod comes back as it was injected', async () => {
    const { metadata, spec } = await create(way, plain);
    const again = await create(way, { ...plain, annotations: metadata?.annotations ?? {}, ...(spec && { spec }) });
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
    const pod = await create(way, { ...plain, annotations, spec }, { within: way.restricted });
    expect(sidecarsIn(pod)).toHaveLength(1);
  });

  it('tells a container that somebody else adds afterwards, and stays where it is', async () => {
    await cluster.objects.apply(...meshFor(way));
    const pod = await eventually(
      async () => {
        const found = await create(way, plain);
        if (!found.spec?.containers.some(({ name }) => name === 'mesh'))
          throw new Error('the mesh does not inject yet');
        return found;
      },
      { withinMs: 60_000, everyMs: 50 },
    );
    const mesh = pod.spec?.containers.find(({ name }) => name === 'mesh');
    expect(mesh?.env).toEqual([{ name: 'TIDEMARK_URL', value: 'http://127.0.0.1:7070' }]);
    expect(sidecarsIn(pod)).toHaveLength(1);
  });
});

/** Another injector, which waits until our sidecar is there: so ours has to be asked again. */
function meshFor({ shop }: Way): readonly Manifest[] {
  const name = `mesh-${shop}`;
  const apiVersion = 'admissionregistration.k8s.io/v1';
  const has = (wanted: string) =>
    `(object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : [])).exists(c, c.name == '${wanted}')`;
  return [
    {
      apiVersion,
      kind: 'MutatingAdmissionPolicy',
      metadata: { name },
      spec: {
        failurePolicy: 'Fail',
        reinvocationPolicy: 'IfNeeded',
        matchConstraints: {
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': shop } },
          resourceRules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'] }],
        },
        mutations: [
          {
            patchType: 'JSONPatch',
            jsonPatch: {
              // Not a match condition: what is not called the first time is not called again.
              expression: `!${has('tidemark')} || ${has('mesh')} ? [] : [JSONPatch{op: 'add', path: '/spec/containers/-', value: {'name': 'mesh', 'image': 'nobody/mesh:1'}}]`,
            },
          },
        ],
      },
    },
    { apiVersion, kind: 'MutatingAdmissionPolicyBinding', metadata: { name }, spec: { policyName: name } },
  ];
}
