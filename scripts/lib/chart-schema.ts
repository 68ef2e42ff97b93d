import { configJsonSchema } from '../../proto/src/index.ts';
import type { ChartValue } from './chart-values.ts';

type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: 'string' };
const texts: Schema = { type: 'object', additionalProperties: text };
const duration: Schema = { type: 'string', pattern: String.raw`^\d+(\.\d+)?(ms|s|m|h|d)$` };
const size: Schema = { type: 'string', pattern: String.raw`^\d+(\.\d+)?(B|KiB|MiB|GiB)$` };
const objectName: Schema = { type: 'string', pattern: '^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$' };
const secretKey: Schema = { type: 'string', pattern: '^[-._a-zA-Z0-9]{1,253}$' };
const optionalKey: Schema = { type: 'string', pattern: '^[-._a-zA-Z0-9]{0,253}$' };
const topicName: Schema = { type: 'string', pattern: '^[a-zA-Z0-9._-]{0,249}$' };
const postgresName: Schema = { type: 'string', pattern: '^[a-z0-9_]{0,63}$' };
const logLevel: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error', 'silent'];
const port: Schema = { type: 'integer', minimum: 1, maximum: 65_535 };
const quantity: Schema = { type: ['string', 'integer'], pattern: '^[0-9]+([.][0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$' };
const positive: Schema = { type: 'integer', minimum: 1 };
const ratio: Schema = { type: 'number', minimum: 0, maximum: 1 };
/** Objects of Kubernetes whose fields the API server checks. */
const objects: Schema = { type: 'array', items: { type: 'object' } };
const anyObject: Schema = { type: 'object' };

const quantities: Schema = { type: 'object', additionalProperties: quantity };
/** Without requests an autoscaler of the workload cannot count: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/ */
const resources = strict(
  {
    requests: { ...quantities, properties: { cpu: quantity, memory: quantity }, required: ['cpu', 'memory'] },
    limits: quantities,
  },
  ['requests'],
);

const seccompProfile = strict({ type: text, localhostProfile: text }, ['type']);
const user: Schema = { type: ['integer', 'null'], minimum: 1 };
const boolean: Schema = { type: 'boolean' };
const userFields = {
  runAsNonRoot: boolean,
  runAsUser: user,
  runAsGroup: user,
  seccompProfile,
  seLinuxOptions: anyObject,
  appArmorProfile: anyObject,
};
/** core/v1 SecurityContext. */
const containerSecurityContext = strict({
  ...userFields,
  allowPrivilegeEscalation: boolean,
  privileged: boolean,
  readOnlyRootFilesystem: boolean,
  capabilities: strict({ add: { type: 'array', items: text }, drop: { type: 'array', items: text } }),
});
/** core/v1 PodSecurityContext. */
const podSecurityContext = strict({
  ...userFields,
  fsGroup: user,
  fsGroupChangePolicy: { enum: ['Always', 'OnRootMismatch'] },
  supplementalGroups: { type: 'array', items: { type: 'integer' } },
});

const environment: Schema = {
  type: 'array',
  items: strict({ name: { type: 'string', minLength: 1 }, value: text, valueFrom: anyObject }, ['name']),
};

/** What a default does not tell, by path, or by last key where that always means the same. */
const shapes: Readonly<Record<string, Schema>> = {
  resources,
  securityContext: containerSecurityContext,
  extraEnv: environment,
  podLabels: texts,
  podAnnotations: texts,
  labels: texts,
  annotations: texts,
  nodeSelector: texts,
  tolerations: objects,
  affinity: anyObject,
  topologySpreadConstraints: { type: ['array', 'null'], items: { type: 'object' } },
  existingSecret: objectName,
  existingSecretKey: secretKey,
  usernameKey: secretKey,
  passwordKey: secretKey,
  keyKey: secretKey,
  caKey: optionalKey,
  certKey: optionalKey,
  replicas: positive,
  terminationGracePeriodSeconds: { type: 'integer', minimum: 10, maximum: 3600 },
  commonLabels: texts,
  containerSecurityContext,
  podSecurityContext,
  namespaces: namespacesSchema(),
  imagePullSecrets: { type: 'array', items: strict({ name: text }, ['name']) },
  logLevel: { enum: logLevel },
  'sidecar.logLevel': { enum: ['', ...logLevel] },
  'image.repository': { type: 'string', minLength: 1 },
  'image.digest': { type: 'string', pattern: '^(sha256:[0-9a-f]{64})?$' },
  'image.pullPolicy': { enum: ['Always', 'IfNotPresent', 'Never'] },
  'source.name': { type: 'string', pattern: '^[a-z0-9][a-z0-9._-]{0,62}$' },
  'source.topic': topicName,
  'source.configTopic': topicName,
  'source.topicRetention': duration,
  'source.slot': postgresName,
  'source.publication': postgresName,
  'source.l2.buckets': { type: 'integer', minimum: 1, maximum: 1024 },
  'source.l2.maxFences': { type: 'integer', minimum: 1000, maximum: 10_000_000 },
  'postgres.url': { type: 'string', pattern: '^(postgres(ql)?://.+)?$' },
  'kafka.brokers': { type: 'array', items: { type: 'string', pattern: String.raw`^[^\s:,]+:\d{1,5}$` } },
  'kafka.sasl.mechanism': { enum: ['', 'plain', 'scram-sha-256', 'scram-sha-512'] },
  'redis.url': { type: 'string', pattern: String.raw`^(rediss?(\+sentinel|\+cluster)?://.+)?$` },
  'sidecar.redisUrl': { type: 'string', pattern: String.raw`^(rediss?(\+sentinel|\+cluster)?://.+)?$` },
  'sidecar.memcachedUrl': { type: 'string', pattern: '^(memcached://.+)?$' },
  'sidecar.memcachedMaxItem': size,
  'sidecar.loadPool': { type: 'integer', minimum: 1, maximum: 100 },
  'sidecar.writePool': { type: 'integer', minimum: 1, maximum: 100 },
  'invalidator.lease.duration': duration,
  'invalidator.lease.renewDeadline': duration,
  'invalidator.lease.retry': duration,
  'applier.redisDeadline': duration,
  'flush.topic': { type: 'string', pattern: '^[a-zA-Z0-9._-]{0,200}$' },
  'flush.interval': duration,
  'flush.keep': duration,
  'sidecar.fetchInterval': duration,
  'sidecar.redisDeadline': duration,
  'sidecar.memcachedDeadline': duration,
  'sidecar.l1MaxBytes': { type: 'string', pattern: String.raw`^(\d+(\.\d+)?(B|KiB|MiB|GiB))?$` },
  'sidecar.l1MaxEntries': { type: 'integer', minimum: 0, maximum: 999_999_999 },
  'sidecar.maxStaleness': duration,
  'sidecar.leaseTtl': duration,
  'sidecar.coalesceTimeout': duration,
  'sidecar.sessionTimeout': duration,
  'injection.mode': { enum: ['webhook', 'policy', 'none'] },
  'injection.sidecarMode': { enum: ['auto', 'native', 'container'] },
  'injection.failurePolicy': { enum: ['Ignore', 'Fail'] },
  'injection.excludedNamespaces': {
    type: 'array',
    items: { type: 'string', pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' },
  },
  'injection.credentialsSecret': objectName,
  'injection.certificates.mode': { enum: ['self-signed', 'cert-manager', 'provided'] },
  'injection.certificates.life': duration,
  'injection.timeoutSeconds': { type: 'integer', minimum: 1, maximum: 30 },
  'injection.certificates.issuerRef': strict({ name: text, kind: text, group: text }),
  'injection.socket.directory': { type: 'string', pattern: '^/[^:]{1,80}$' },
  'injection.socket.mode': { type: 'string', pattern: '^0?[0-7]{3}$' },
  'selftest.namespace': { type: 'string', pattern: '^[a-z0-9][a-z0-9._-]{0,62}$' },
  'selftest.table': { type: 'string', pattern: String.raw`^[^.\s]+\.[^.]+$` },
  'networkPolicy.invalidatorFrom': objects,
  'networkPolicy.metricsFrom': objects,
  'networkPolicy.egress.extra': objects,
  'networkPolicy.egress.kafkaPorts': { type: 'array', items: port },
  'networkPolicy.egress.postgresPorts': { type: 'array', items: port },
  'networkPolicy.egress.redisPorts': { type: 'array', items: port },
  'networkPolicy.egress.apiServerPorts': { type: 'array', items: port },
  'networkPolicy.egress.dnsPorts': { type: 'array', items: port },
  'monitoring.interval': duration,
  'monitoring.scrapeTimeout': duration,
  'monitoring.sidecars.namespaceSelector': strict({ any: boolean, matchNames: { type: 'array', items: text } }),
  'monitoring.rules.publishSeconds': { type: 'number', exclusiveMinimum: 0 },
  'monitoring.rules.stalledRatio': ratio,
};

/** Shapes that some value took; the others are leftovers. */
const taken = new Set<string>();

/**
 * values.schema.json: closed at every level, so that a mistyped value fails `helm install`. Types come from the defaults,
 * descriptions from the comments, the namespaces from the schema of the document. Throws where a default tells too little, and
 * where a shape belongs to no value.
 */
export function chartSchema(values: readonly ChartValue[]): object {
  const schema = { $schema: 'https://json-schema.org/draft/2020-12/schema', ...section(values, 0) };
  const leftovers = Object.keys(shapes).filter((name) => !taken.has(name));
  if (leftovers.length > 0) throw new Error(`chart-schema.ts: there is no value for ${leftovers.join(', ')}`);
  // What charts above share with all of theirs arrives here too: https://helm.sh/docs/chart_template_guide/subcharts_and_globals/
  return { ...schema, properties: { global: anyObject, ...schema.properties } };
}

function section(values: readonly ChartValue[], depth: number) {
  const properties: Record<string, Schema> = {};
  for (const key of new Set(values.map(({ path }) => path[depth] ?? ''))) {
    const below = values.filter(({ path }) => path[depth] === key);
    const [first] = below;
    if (first === undefined) continue;
    properties[key] =
      first.path.length === depth + 1
        ? { description: first.description, ...shapeOf(first) }
        : section(below, depth + 1);
  }
  return { type: 'object', properties, additionalProperties: false };
}

function shapeOf({ path, default: value }: ChartValue): Schema {
  for (const name of [path.join('.'), path.at(-1) ?? '']) {
    const shape = Object.hasOwn(shapes, name) ? shapes[name] : undefined;
    if (shape === undefined) continue;
    taken.add(name);
    return shape;
  }
  if (typeof value === 'string' || typeof value === 'boolean') return { type: typeof value };
  if (Number.isInteger(value)) return { type: 'integer', minimum: 0 };
  throw new Error(
    `chart-schema.ts: ${path.join('.')} needs a shape: its default ${JSON.stringify(value)} tells too little`,
  );
}

/** The namespaces of the document, without their source: a release has one. */
function namespacesSchema(): Schema {
  const document = configJsonSchema() as { properties: { namespaces: { additionalProperties: NamespaceSchema } } };
  const { namespaces } = document.properties;
  const { properties, required, ...rest } = namespaces.additionalProperties;
  const others = Object.fromEntries(Object.entries(properties).filter(([name]) => name !== 'source'));
  return {
    ...namespaces,
    additionalProperties: { ...rest, properties: others, required: required.filter((name) => name !== 'source') },
  };
}

interface NamespaceSchema {
  readonly properties: Readonly<Record<string, Schema>>;
  readonly required: readonly string[];
}

function strict(properties: Readonly<Record<string, Schema>>, required: readonly string[] = []): Schema {
  return { type: 'object', properties, required, additionalProperties: false };
}
