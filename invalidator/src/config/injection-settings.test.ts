import { expect, it } from 'vitest';
import { parseInjectionSettings } from './injection-settings.ts';

const sample = `
mode: native
source: main
container:
  name: tidemark
  image: ghcr.io/tidemark/tidemark:0.1.0
  imagePullPolicy: IfNotPresent
  command: [node, /app/sidecar/main.js]
  env:
    - { name: TIDEMARK_KAFKA_BROKERS, value: "kafka:9092" }
    - { name: TIDEMARK_INSTANCE, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
  ports: [{ name: tidemark-admin, containerPort: 7071 }]
  startupProbe: { httpGet: { path: /readyz, port: 7071 }, periodSeconds: 1, failureThreshold: 60 }
  livenessProbe: { httpGet: { path: /livez, port: 7071 } }
  resources: { requests: { cpu: 50m, memory: 128Mi }, limits: { memory: 256Mi } }
  securityContext: { runAsNonRoot: true, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
  volumeMounts: [{ name: tidemark-kafka-ca, mountPath: /etc/tidemark/kafka, readOnly: true }]
volumes:
  - { name: tidemark-kafka-ca, secret: { secretName: kafka-ca } }
applicationEnv:
  - { name: TIDEMARK_URL, value: "http://127.0.0.1:7070" }
credentialsSecret: tidemark-credentials
socket: { enabled: false, directory: /run/tidemark }
excludedNamespaces: [kube-system, tidemark]
`;

function messageOf(text: string): string {
  try {
    parseInjectionSettings('injection.yaml', text);
  } catch (error) {
    return (error as Error).message;
  }
  return '';
}

it('reads what the chart renders, and carries along what it does not look at', () => {
  const settings = parseInjectionSettings('injection.yaml', sample);
  expect(settings.container['startupProbe']).toMatchObject({ httpGet: { port: 7071 } });
  expect(settings.container.env?.[1]).toEqual({
    name: 'TIDEMARK_INSTANCE',
    valueFrom: { fieldRef: { fieldPath: 'metadata.name' } },
  });
  expect(settings.excludedNamespaces).toEqual(['kube-system', 'tidemark']);
});

it('has defaults for all that a pod does not need', () => {
  const settings = parseInjectionSettings(
    'injection.yaml',
    'mode: container\nsource: main\ncontainer: { name: tidemark, image: a }\n',
  );
  expect(settings).toEqual({
    mode: 'container',
    source: 'main',
    container: { name: 'tidemark', image: 'a' },
    volumes: [],
    applicationEnv: [{ name: 'TIDEMARK_URL', value: 'http://127.0.0.1:7070' }],
    socket: { enabled: false, directory: '/run/tidemark' },
    excludedNamespaces: ['kube-system'],
  });
});

it('names every mistake with its place', () => {
  const found = messageOf(
    'mode: both\nsource: main\ncontainer: { name: cache, image: a, restartPolicy: Always, livenesProbe: {} }\nvolumes: [{ name: data }]\n',
  );
  expect(found).toMatch(/^injection\.yaml: mode: .*native.*container/m);
  expect(found).toMatch(/container\.name: .*tidemark/);
  expect(found).toMatch(/container: .*restartPolicy.*livenesProbe/);
  expect(found).toMatch(/volumes\.0\.name: expected a name that begins with tidemark/);
});

it('says where a file is no YAML', () => {
  expect(messageOf('mode: native\nmode: container\n')).toMatch(/^injection\.yaml: not YAML: .*unique/);
});
