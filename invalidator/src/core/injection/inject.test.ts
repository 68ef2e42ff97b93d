import fc from 'fast-check';
import { applyPatch } from 'rfc6902';
import { describe, expect, it } from 'vitest';
import { INJECT_ANNOTATION, STATUS_ANNOTATION } from './annotations.ts';
import { decide, statusOf, type Decision, type Pod } from './inject.ts';
import type { Container, InjectionSettings } from './settings.ts';

const settings: InjectionSettings = {
  mode: 'native',
  source: 'main',
  container: {
    name: 'tidemark',
    image: 'tidemark:1',
    command: ['node', '/app/sidecar/main.js'],
    env: [
      { name: 'TIDEMARK_KAFKA_BROKERS', value: 'kafka:9092' },
      { name: 'TIDEMARK_LOG_LEVEL', value: 'info' },
    ],
    resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '256Mi' } },
  },
  volumes: [{ name: 'tidemark-ca', configMap: { name: 'ca' } }],
  applicationEnv: [{ name: 'TIDEMARK_URL', value: 'http://127.0.0.1:7070' }],
  credentialsSecret: undefined,
  socket: { enabled: false, directory: '/run/tidemark' },
  excludedNamespaces: ['kube-system'],
};

const named = (names: fc.Arbitrary<string>) => names.map((name) => ({ name }));
const container: fc.Arbitrary<Container> = fc.record(
  {
    name: fc.constantFrom('app', 'proxy', 'worker', 'migrate'),
    image: fc.string(),
    env: fc.array(
      fc.record({ name: fc.constantFrom('A', 'B', 'TIDEMARK_URL', 'TIDEMARK_SOCKET'), value: fc.string() }),
      { maxLength: 3 },
    ),
    volumeMounts: fc.array(
      fc.record({ name: fc.constantFrom('data', 'run'), mountPath: fc.constantFrom('/data', '/run/tidemark') }),
      { maxLength: 2 },
    ),
    ports: fc.array(fc.record({ containerPort: fc.nat(65_535) }), { maxLength: 2 }),
  },
  { requiredKeys: ['name'] },
);
const annotations = fc
  .record(
    {
      other: fc.string(),
      'config.tidemark.dev/image': fc.constantFrom('mirror/tidemark:2', 'r@sha256:0123'),
      'config.tidemark.dev/log-level': fc.constantFrom('debug', 'warn'),
      'config.tidemark.dev/cpu-request': fc.constantFrom('100m', '1', '0.5'),
      'config.tidemark.dev/memory-limit': fc.constantFrom('1Gi', '512Mi'),
      'config.tidemark.dev/namespaces': fc.constantFrom('users', 'users,orders'),
      'config.tidemark.dev/secret': fc.constantFrom('credentials'),
      'config.tidemark.dev/socket': fc.constantFrom('enabled', 'true', 'disabled', 'false'),
    },
    { requiredKeys: [] },
  )
  .map((extra) => ({ ...extra, [INJECT_ANNOTATION]: 'enabled' }));
const pod: fc.Arbitrary<Pod> = fc.record({
  metadata: fc.record({ annotations, labels: fc.dictionary(fc.string(), fc.string(), { maxKeys: 2 }) }),
  spec: fc.record(
    {
      containers: fc.uniqueArray(container, { minLength: 1, maxLength: 3, selector: ({ name }) => name }),
      initContainers: fc.uniqueArray(container, { maxLength: 2, selector: ({ name }) => name }),
      volumes: fc.uniqueArray(named(fc.constantFrom('data', 'run', 'tmp')), { selector: ({ name }) => name }),
      serviceAccountName: fc.string(),
      restartPolicy: fc.constantFrom('Always', 'Never', 'OnFailure'),
    },
    { requiredKeys: ['containers'] },
  ),
});
const anySettings = fc
  .record({ mode: fc.constantFrom('native', 'container'), enabled: fc.boolean() })
  .map(({ mode, enabled }): InjectionSettings => ({ ...settings, mode, socket: { ...settings.socket, enabled } }));

function apply(before: Pod, decision: Decision): Pod {
  if (decision.outcome !== 'injected') throw new Error(`found ${decision.outcome}: ${JSON.stringify(decision)}`);
  const after = structuredClone(before);
  const errors = applyPatch(after, structuredClone(decision.patch) as Parameters<typeof applyPatch>[1]);
  expect(errors.filter((error) => error !== null)).toEqual([]);
  return after;
}

/** The pod without what injection may have brought. */
function without(injected: Pod): unknown {
  const strip = (list: readonly Container[] | undefined) =>
    list
      ?.filter(({ name }) => name !== 'tidemark')
      .map(({ env, volumeMounts, ...rest }) => ({
        ...rest,
        env: (env ?? []).filter(({ name }) => !name.startsWith('TIDEMARK_')),
        volumeMounts: (volumeMounts ?? []).filter(({ name }) => name !== 'tidemark-socket'),
      })) ?? [];
  const { [STATUS_ANNOTATION]: _status, ...kept } = injected.metadata.annotations ?? {};
  return {
    ...injected,
    metadata: { ...injected.metadata, annotations: kept },
    spec: {
      ...injected.spec,
      containers: strip(injected.spec.containers),
      initContainers: strip(injected.spec.initContainers),
      volumes: (injected.spec.volumes ?? []).filter(({ name }) => !name.startsWith('tidemark')),
    },
  };
}

it('gives any pod exactly one sidecar, first of its list, tells the application, and leaves the rest as it was', () => {
  fc.assert(
    fc.property(pod, anySettings, (before, chosen) => {
      const after = apply(before, decide(before, 'shop', chosen));
      const { containers, initContainers = [] } = after.spec;
      const [list, other] = chosen.mode === 'native' ? [initContainers, containers] : [containers, initContainers];
      expect(list[0]).toMatchObject({ name: 'tidemark', command: ['node', '/app/sidecar/main.js'] });
      expect(list[0]?.['restartPolicy']).toBe(chosen.mode === 'native' ? 'Always' : undefined);
      expect([...list, ...other].filter(({ name }) => name === 'tidemark')).toHaveLength(1);
      for (const { name, env } of chosen.mode === 'native' ? [...containers, ...initContainers] : containers) {
        if (name !== 'tidemark') expect(env?.filter((one) => one.name === 'TIDEMARK_URL').length).toBeGreaterThan(0);
      }
      expect(after.metadata.annotations?.[STATUS_ANNOTATION]).toBe(statusOf(chosen));
      expect(without(after)).toEqual(without(before));
    }),
    { numRuns: 500 },
  );
});

it('does nothing when it is called again, and completes what others added in between', () => {
  fc.assert(
    fc.property(pod, anySettings, container, (before, chosen, added) => {
      const once = apply(before, decide(before, 'shop', chosen));
      expect(decide(once, 'shop', chosen)).toMatchObject({ outcome: 'unchanged' });
      const grown: Pod = {
        ...once,
        spec: { ...once.spec, containers: [...once.spec.containers, { ...added, name: 'mesh', env: [] }] },
      };
      const twice = apply(grown, decide(grown, 'shop', chosen));
      expect(twice.spec.containers.at(-1)?.env?.[0]?.name).toBe('TIDEMARK_URL');
      expect(decide(twice, 'shop', chosen)).toMatchObject({ outcome: 'unchanged' });
    }),
    { numRuns: 300 },
  );
});

const plain: Pod = {
  metadata: { annotations: { [INJECT_ANNOTATION]: 'enabled' } },
  spec: { containers: [{ name: 'app', image: 'app' }] },
};
const podWith = (extra: Record<string, string>, spec: Partial<Pod['spec']> = {}): Pod => ({
  metadata: { annotations: { ...plain.metadata.annotations, ...extra } },
  spec: { ...plain.spec, ...spec },
});
const sidecarOf = (extra: Record<string, string>, chosen = settings) => {
  const before = podWith(extra);
  return apply(before, decide(before, 'shop', chosen)).spec.initContainers?.[0];
};

describe('overrides', () => {
  it('replace the image, and resources one by one', () => {
    expect(
      sidecarOf({
        'config.tidemark.dev/image': 'mirror.example:5000/tidemark@sha256:ab',
        'config.tidemark.dev/cpu-request': '200m',
        'config.tidemark.dev/memory-limit': '1Gi',
      }),
    ).toMatchObject({
      image: 'mirror.example:5000/tidemark@sha256:ab',
      resources: { requests: { cpu: '200m', memory: '128Mi' }, limits: { memory: '1Gi' } },
    });
  });

  it('set the environment, each variable once', () => {
    expect(
      sidecarOf({ 'config.tidemark.dev/log-level': 'debug', 'config.tidemark.dev/namespaces': 'users,orders' })?.env,
    ).toEqual([
      { name: 'TIDEMARK_KAFKA_BROKERS', value: 'kafka:9092' },
      { name: 'TIDEMARK_LOG_LEVEL', value: 'debug' },
      { name: 'TIDEMARK_NAMESPACES', value: 'users,orders' },
    ]);
  });

  it('name a Secret of the pod’s own, instead of the one for all', () => {
    const chosen = { ...settings, credentialsSecret: 'for-all' };
    expect(sidecarOf({}, chosen)?.envFrom).toEqual([{ secretRef: { name: 'for-all' } }]);
    expect(sidecarOf({ 'config.tidemark.dev/secret': 'mine' }, chosen)?.envFrom).toEqual([
      { secretRef: { name: 'mine' } },
    ]);
  });

  it('share a socket in a folder that only the pod has', () => {
    const before = podWith({ 'config.tidemark.dev/socket': 'enabled' });
    const { spec } = apply(before, decide(before, 'shop', settings));
    expect(spec.volumes).toContainEqual({ name: 'tidemark-socket', emptyDir: {} });
    expect(spec.initContainers?.[0]).toMatchObject({ volumeMounts: [{ name: 'tidemark-socket' }] });
    expect(spec.initContainers?.[0]?.env).toContainEqual({
      name: 'TIDEMARK_SOCKET',
      value: '/run/tidemark/tidemark.sock',
    });
    expect(spec.containers[0]).toEqual({
      name: 'app',
      image: 'app',
      env: [
        { name: 'TIDEMARK_URL', value: 'http://127.0.0.1:7070' },
        { name: 'TIDEMARK_SOCKET', value: '/run/tidemark/tidemark.sock' },
      ],
      volumeMounts: [{ name: 'tidemark-socket', mountPath: '/run/tidemark', readOnly: true }],
    });
  });
});

describe('is refused, with what to mend', () => {
  const messageOf = (refused: Pod): string => {
    const decision = decide(refused, 'shop', settings);
    return decision.outcome === 'refused' ? decision.message : `not refused: ${decision.outcome}`;
  };

  it.each([
    ['config.tidemark.dev/cpu-request', 'lots', /cpu-request: found "lots", expected CPU such as/],
    ['config.tidemark.dev/memory-limit', '-1', /memory-limit: found "-1"/],
    ['config.tidemark.dev/log-level', 'chatty', /expected one of trace, debug/],
    ['config.tidemark.dev/namespaces', 'a, b', /without spaces/],
    ['config.tidemark.dev/image', '', /image: found ""/],
    ['config.tidemark.dev/colour', 'red', /colour: there is no such setting, expected one of image, log-level/],
    [INJECT_ANNOTATION, 'yes', /inject: found "yes", expected enabled or disabled/],
  ])('%s: %s', (annotation, value, message) => {
    expect(messageOf(podWith({ [annotation]: value }))).toMatch(message);
  });

  it('every mistake at once, shortened', () => {
    const found = messageOf(
      podWith({ 'config.tidemark.dev/image': ' '.repeat(1000), 'config.tidemark.dev/log-level': '' }),
    );
    expect(found).toMatch(/image: .*; .*log-level: /);
    expect(found.length).toBeLessThan(400);
  });

  it('a container or a volume of another one that has our name', () => {
    expect(messageOf(podWith({}, { containers: [{ name: 'tidemark' }] }))).toMatch(/container named tidemark/);
    expect(messageOf(podWith({}, { initContainers: [{ name: 'tidemark' }] }))).toMatch(/container named tidemark/);
    expect(messageOf(podWith({}, { volumes: [{ name: 'tidemark-ca' }] }))).toMatch(/volume named tidemark-ca/);
  });

  it('a pod in the network of its node', () => {
    expect(messageOf(podWith({}, { hostNetwork: true }))).toMatch(/hostNetwork/);
  });
});

describe('leaves alone', () => {
  const outcomeOf = (left: Pod, namespace = 'shop') => decide(left, namespace, settings).outcome;

  it('who does not ask, or says no, whatever else is written there', () => {
    expect(outcomeOf({ metadata: {}, spec: plain.spec })).toBe('skipped');
    for (const word of ['disabled', 'false'])
      expect(outcomeOf(podWith({ [INJECT_ANNOTATION]: word, 'config.tidemark.dev/colour': 'red' }))).toBe('skipped');
  });

  it('excluded namespaces, and pods of another source', () => {
    expect(outcomeOf(plain, 'kube-system')).toBe('skipped');
    const others = { 'config.tidemark.dev/source': 'orders', 'config.tidemark.dev/from-next-year': 'yes' };
    expect(outcomeOf(podWith(others))).toBe('skipped');
    const once = apply(plain, decide(plain, 'shop', { ...settings, source: 'orders' }));
    expect(decide(once, 'shop', settings)).toMatchObject({ outcome: 'skipped', warnings: [expect.any(String)] });
  });

  it('a sidecar that is there, also when others changed it since', () => {
    const once = apply(plain, decide(plain, 'shop', settings));
    const initContainers = once.spec.initContainers?.map((one) => ({ ...one, image: 'mirror/tidemark:1' }));
    expect(outcomeOf({ ...once, spec: { ...once.spec, ...(initContainers && { initContainers }) } })).toBe('unchanged');
  });
});

it('warns that a pod with an ordinary sidecar will not complete', () => {
  const job = podWith({}, { restartPolicy: 'Never' });
  expect(decide(job, 'shop', { ...settings, mode: 'container' })).toMatchObject({
    warnings: [expect.stringContaining('will not complete')],
  });
  expect(decide(job, 'shop', settings)).toMatchObject({ warnings: [] });
});
