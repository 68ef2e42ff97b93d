import type { V1PodSpec } from '@kubernetes/client-node';

/** A pod that asks for the sidecar in some way, and what has to become of it in every mode of injection. */
export interface InjectionCase {
  readonly title: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** Default: one container named `app`. */
  readonly spec?: Partial<V1PodSpec>;
  readonly expected: 'injected' | 'left alone' | RegExp;
}

const asked = { 'tidemark.dev/inject': 'enabled' };
const image = 'nobody/app:1';
const app = { name: 'app', image };
const override = (name: string, value: string) => ({ ...asked, [`config.tidemark.dev/${name}`]: value });
/** One override: that it is taken, or with what words it is refused. */
const says = (name: string, value: string, expected: InjectionCase['expected']): InjectionCase => ({
  title: `${name}: ${JSON.stringify(value)}`,
  annotations: override(name, value),
  expected,
});

export const injectionCases: readonly InjectionCase[] = [
  { title: 'a plain pod', annotations: asked, expected: 'injected' },
  { title: 'the word of other meshes', annotations: { 'tidemark.dev/inject': 'true' }, expected: 'injected' },
  {
    title: 'containers with variables, mounts, probes and ports of their own',
    annotations: { ...asked, 'example.com/a.b': 'kept' },
    spec: {
      volumes: [{ name: 'data', emptyDir: {} }],
      initContainers: [
        { name: 'migrate', image, env: [{ name: 'A', value: '1' }] },
        { name: 'native', image, restartPolicy: 'Always' },
      ],
      containers: [
        {
          ...app,
          env: [
            { name: 'CACHE', value: '$(TIDEMARK_URL)/v1' },
            { name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
            { name: 'MEMORY', valueFrom: { resourceFieldRef: { resource: 'limits.memory', divisor: '1Mi' } } },
          ],
          volumeMounts: [{ name: 'data', mountPath: '/data' }],
          resources: { limits: { memory: '1Gi' } },
          ports: [{ containerPort: 8080 }],
          readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 7 },
        },
        { name: 'own', image, env: [{ name: 'TIDEMARK_URL', value: 'http://elsewhere' }] },
      ],
    },
    expected: 'injected',
  },
  {
    title: 'a job',
    annotations: asked,
    spec: { restartPolicy: 'Never', activeDeadlineSeconds: 60 },
    expected: 'injected',
  },
  says('image', 'mirror.example:5000/tidemark@sha256:0123', 'injected'),
  says('log-level', 'debug', 'injected'),
  says('namespaces', 'users', 'injected'),
  says('namespaces', 'users,orders.v2,a_b', 'injected'),
  says('secret', 'my.credentials', 'injected'),
  says('source', 'main', 'injected'),
  {
    title: 'resources, each by itself',
    annotations: { ...override('cpu-request', '0.25'), ...override('memory-limit', '1Gi') },
    expected: 'injected',
  },
  {
    title: 'all resources',
    annotations: {
      ...override('cpu-request', '10m'),
      ...override('cpu-limit', '2'),
      ...override('memory-request', '64Mi'),
      ...override('memory-limit', '128M'),
    },
    expected: 'injected',
  },
  says('socket', 'enabled', 'injected'),
  {
    title: 'a socket for containers with mounts and variables of their own',
    annotations: { ...override('socket', 'true'), ...override('log-level', 'warn') },
    spec: {
      volumes: [
        { name: 'run', emptyDir: {} },
        { name: 'data', emptyDir: {} },
      ],
      initContainers: [{ name: 'migrate', image, volumeMounts: [{ name: 'data', mountPath: '/data' }] }],
      containers: [
        { ...app, env: [{ name: 'TIDEMARK_SOCKET', value: '/mine' }] },
        { name: 'own', image, volumeMounts: [{ name: 'run', mountPath: '/run/tidemark' }] },
      ],
    },
    expected: 'injected',
  },

  { title: 'no annotation', annotations: {}, expected: 'left alone' },
  { title: 'disabled', annotations: { 'tidemark.dev/inject': 'disabled' }, expected: 'left alone' },
  {
    title: 'false, with mistakes beside it',
    annotations: { ...override('colour', 'red'), 'tidemark.dev/inject': 'false' },
    expected: 'left alone',
  },
  says('source', 'another', 'left alone'),
  {
    title: "another release's pod, with a setting that only that one knows",
    annotations: { ...override('source', 'another'), ...override('from-next-year', 'yes') },
    expected: 'left alone',
  },

  {
    title: 'another word',
    annotations: { 'tidemark.dev/inject': 'yes' },
    expected: /inject: found "yes", expected enabled/,
  },
  says('colour', 'red', /config\.tidemark\.dev\/.*expected one of .*image/),
  says('image', '', /image: .*expected an image/),
  says('image', 'two words', /image: .*expected an image/),
  says('log-level', 'chatty', /log-level: .*expected one of trace/),
  says('cpu-request', 'lots', /cpu-request: .*expected CPU/),
  says('cpu-limit', '-1', /cpu-limit: .*expected CPU/),
  says('memory-request', '1 Gi', /memory-request: .*expected memory/),
  says('memory-limit', '1Xi', /memory-limit: .*expected memory/),
  says('namespaces', 'a, b', /namespaces: .*without spaces/),
  says('namespaces', 'a,,b', /namespaces: .*without spaces/),
  says('secret', 'Not_A_Name', /secret: .*expected the name of an object/),
  says('socket', 'maybe', /socket: .*expected enabled or disabled/),
  {
    title: 'the network of the node',
    annotations: asked,
    spec: { hostNetwork: true },
    expected: /hostNetwork/,
  },
  {
    title: "another's container with the sidecar's name",
    annotations: asked,
    spec: { containers: [app, { name: 'tidemark', image }] },
    expected: /container named tidemark/,
  },
  {
    title: "another's init container with the sidecar's name",
    annotations: asked,
    spec: { initContainers: [{ name: 'tidemark', image }] },
    expected: /container named tidemark/,
  },
  {
    title: "another's volume with the name of the socket's",
    annotations: override('socket', 'enabled'),
    spec: { volumes: [{ name: 'tidemark-socket', emptyDir: {} }] },
    expected: /volume/,
  },
];
