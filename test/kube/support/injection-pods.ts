import fc from 'fast-check';
import type { InjectionCase } from './injection-cases.ts';

const image = 'nobody/app:1';

/** Mostly the first, seldom the second. */
function mostly<T>(usual: fc.Arbitrary<T>, unusual: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 15, arbitrary: usual }, { weight: 1, arbitrary: unusual });
}

/** Values that an annotation takes and values that it does not, at the borders of what is allowed. */
const overrides: Readonly<Record<string, readonly [taken: readonly string[], refused: readonly string[]]>> = {
  image: [
    ['a', 'r.example:5000/t@sha256:ab', 'x'.repeat(512)],
    ['x'.repeat(513), '-a', 'a b', 'a\n', ''],
  ],
  'log-level': [
    ['trace', 'silent'],
    ['INFO', 'info ', ''],
  ],
  'cpu-request': [
    ['0', '1', '0.001', '50m'],
    ['0.0001', '1.5m', 'm', '1e3', '.5'],
  ],
  'cpu-limit': [
    ['4', '4000m', '999999'],
    ['1000000', ' 1'],
  ],
  'memory-request': [
    ['1', '64Mi', '0.5Gi'],
    ['1m', '1Ti', '1e6', 'Mi'],
  ],
  'memory-limit': [
    ['1Gi', '2G', '4000000000'],
    ['1gi', ''],
  ],
  namespaces: [
    ['a', 'a,b', `a${',b'.repeat(300)}`, 'x'.repeat(63)],
    ['a,', ',a', 'A', 'x'.repeat(64), 'a\nb'],
  ],
  source: [['main'], ['other', 'Main', '']],
  secret: [
    ['s', 's.t-u', 'x'.repeat(253)],
    ['s.', '-s', 'x'.repeat(254)],
  ],
  socket: [
    ['enabled', 'true', 'disabled', 'false'],
    ['on', ''],
  ],
};

const override = mostly(
  fc
    .constantFrom(...Object.entries(overrides))
    .chain(([name, [taken, refused]]) =>
      mostly(fc.constantFrom(...taken), fc.constantFrom(...refused)).map((value) => [name, value] as const),
    ),
  fc.constant(['unknown', 'x'] as const),
);
const annotations = fc
  .tuple(
    mostly(fc.constantFrom('enabled', 'true'), fc.constantFrom('disabled', 'on', '')),
    fc.uniqueArray(override, { maxLength: 4, selector: ([name]) => name }),
  )
  .map(([asked, given]) => ({
    'tidemark.dev/inject': asked,
    ...Object.fromEntries(given.map(([name, value]) => [`config.tidemark.dev/${name}`, value])),
  }));

const container = fc.record(
  {
    name: mostly(fc.constantFrom('a', 'b', 'c', 'd'), fc.constant('tidemark')),
    image: fc.constant(image),
    env: fc.uniqueArray(
      fc.record({ name: fc.constantFrom('A', 'TIDEMARK_URL', 'TIDEMARK_SOCKET'), value: fc.constantFrom('', '$(A)') }),
      { maxLength: 3, selector: ({ name }) => name },
    ),
    volumeMounts: fc.uniqueArray(
      fc.record({ name: fc.constant('data'), mountPath: fc.constantFrom('/data', '/run/tidemark', '/run') }),
      { maxLength: 2, selector: ({ mountPath }) => mountPath },
    ),
  },
  { requiredKeys: ['name', 'image'] },
);

/** Pods that an API server takes if nobody injects, with annotations that are right or not. */
export const injectionPods: fc.Arbitrary<InjectionCase> = fc
  .record({
    annotations,
    containers: fc.uniqueArray(container, { minLength: 1, maxLength: 5, selector: ({ name }) => name }),
    inits: fc.nat(2),
    volume: mostly(fc.constant('other'), fc.constantFrom('tidemark-socket', 'tidemark-kafka-tls', 'tidemark-ca')),
    hostNetwork: mostly(fc.constant(false), fc.constant(true)),
    restartPolicy: fc.constantFrom('Always', 'Never'),
  })
  .map(({ annotations: given, containers: all, inits, volume, hostNetwork, restartPolicy }) => {
    // Names are unique over both lists.
    const initContainers = all.slice(1, 1 + inits);
    const containers = all.filter((each) => !initContainers.includes(each));
    return {
      title: 'any',
      annotations: given,
      expected: 'injected',
      spec: {
        containers,
        ...(initContainers.length > 0 && { initContainers }),
        volumes: ['data', volume].map((name) => ({ name, emptyDir: {} })),
        ...(hostNetwork && { hostNetwork }),
        restartPolicy,
      },
    };
  });
