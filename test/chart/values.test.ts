import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { readChartValues, type ChartValue } from '../../scripts/lib/chart-values.ts';
import { type Helm, startHelm } from '../kit/kube/index.ts';
import { scratchFolder } from '../kit/index.ts';
import { everything, minimal, renderText } from './chart.ts';

/** How a value is tried: what it becomes, and what must be said besides so that it counts. */
interface Trial {
  readonly to?: unknown;
  readonly given?: Readonly<Record<string, unknown>>;
}

const pem = '-----BEGIN X-----';
const kafkaTls = { 'kafka.tls.enabled': true };
const login = { 'kafka.sasl.mechanism': 'plain', 'injection.credentialsSecret': 'c' };
const plainLogin = { ...login, 'kafka.sasl.username': 'u', 'kafka.sasl.password': 'p' };
const redisTls = { 'redis.url': 'rediss://r:1' };
const provided = { mode: 'provided', existingSecret: 's', caBundle: pem };
const certificates = (changes: object) => ({ 'injection.certificates': { ...provided, ...changes } });
const peers = [{ podSelector: {} }];
const url = { 'postgres.url': '' };
const noRedisUrl = { 'redis.url': '' };

/** By path; what is not here becomes another value of its type, on top of values/everything.yaml. */
const trials: Readonly<Record<string, Trial>> = {
  'image.tag': { to: 'x', given: { 'image.digest': '' } },
  'image.digest': { to: `sha256:${'1'.repeat(64)}` },
  'image.pullPolicy': { to: 'Always' },
  imagePullSecrets: { to: [{ name: 'other' }] },
  namespaces: { to: { other: { invalidation: 'ttl_only' } } },
  'source.topicRetention': { to: '1h' },
  'postgres.url': { to: 'postgres://other/db' },
  'postgres.existingSecret': { to: 't', given: { ...url, 'postgres.existingSecret': 's' } },
  'postgres.existingSecretKey': { given: { ...url, 'postgres.existingSecret': 's' } },
  'postgres.tls.cert': { to: 'other', given: { 'postgres.tls.cert': pem, 'postgres.tls.key': pem } },
  'postgres.tls.key': { to: 'other', given: { 'postgres.tls.cert': pem, 'postgres.tls.key': pem } },
  'kafka.brokers': { to: ['other:1'] },
  'kafka.tls.existingSecret': { given: kafkaTls },
  'kafka.tls.caKey': { given: { ...kafkaTls, 'kafka.tls.existingSecret': 's' } },
  'kafka.tls.certKey': { given: { ...kafkaTls, 'kafka.tls.existingSecret': 's' } },
  'kafka.tls.keyKey': { given: { ...kafkaTls, 'kafka.tls.existingSecret': 's', 'kafka.tls.certKey': 'c' } },
  'kafka.tls.ca': { given: kafkaTls },
  'kafka.tls.cert': { to: 'other', given: { ...kafkaTls, 'kafka.tls.cert': pem, 'kafka.tls.key': pem } },
  'kafka.tls.key': { to: 'other', given: { ...kafkaTls, 'kafka.tls.cert': pem, 'kafka.tls.key': pem } },
  'kafka.sasl.mechanism': { to: 'scram-sha-256', given: plainLogin },
  'kafka.sasl.username': { to: 'v', given: plainLogin },
  'kafka.sasl.password': { to: 'q', given: plainLogin },
  'kafka.sasl.existingSecret': { to: 't', given: { ...login, 'kafka.sasl.existingSecret': 's' } },
  'kafka.sasl.usernameKey': { given: { ...login, 'kafka.sasl.existingSecret': 's' } },
  'kafka.sasl.passwordKey': { given: { ...login, 'kafka.sasl.existingSecret': 's' } },
  'redis.url': { to: 'redis://other:1' },
  'redis.existingSecret': { given: noRedisUrl },
  'redis.existingSecretKey': { given: { ...noRedisUrl, 'redis.existingSecret': 's' } },
  'redis.tls.existingSecret': { given: redisTls },
  'redis.tls.caKey': { given: { ...redisTls, 'redis.tls.existingSecret': 's' } },
  'redis.tls.certKey': { given: { ...redisTls, 'redis.tls.existingSecret': 's' } },
  'redis.tls.keyKey': { given: { ...redisTls, 'redis.tls.existingSecret': 's', 'redis.tls.certKey': 'c' } },
  'redis.tls.ca': { given: redisTls },
  'redis.tls.cert': { to: 'other', given: { ...redisTls, 'redis.tls.cert': pem, 'redis.tls.key': pem } },
  'redis.tls.key': { to: 'other', given: { ...redisTls, 'redis.tls.cert': pem, 'redis.tls.key': pem } },
  'flush.keep': { to: '7h' },
  logLevel: { to: 'debug' },
  listenHost: { to: '::' },
  resources: { to: { requests: { cpu: '3', memory: '3Gi' } } },
  extraEnv: { to: [{ name: 'A', value: 'b' }] },
  tolerations: { to: [{ key: 'other' }] },
  affinity: { to: { podAntiAffinity: {} } },
  topologySpreadConstraints: { to: [{ maxSkew: 7, topologyKey: 'rack', whenUnsatisfiable: 'DoNotSchedule' }] },
  'injection.mode': { to: 'none' },
  'injection.sidecarMode': { to: 'container' },
  'injection.excludedNamespaces': { to: ['other'] },
  'injection.failurePolicy': { to: 'Ignore' },
  'injection.certificates.mode': { to: 'cert-manager' },
  'injection.certificates.life': { to: '30d' },
  'injection.certificates.issuerRef': { to: { name: 'ca' }, given: { 'injection.certificates.mode': 'cert-manager' } },
  'injection.certificates.existingSecret': { to: 'other', given: certificates({}) },
  'injection.certificates.caBundle': { to: 'other', given: certificates({}) },
  'injection.socket.directory': { to: '/run/other' },
  'injection.socket.mode': { to: '0600' },
  'sidecar.logLevel': { to: 'debug' },
  'sidecar.redisUrl': { to: 'redis://other:1' },
  'sidecar.memcachedUrl': { to: 'memcached://other:1', given: noRedisUrl },
  'sidecar.memcachedMaxItem': { to: '2MiB' },
  'sidecar.l1MaxBytes': { to: '256MiB' },
  'sidecar.kafkaTls.caKey': { given: { 'sidecar.kafkaTls.existingSecret': 's' } },
  'sidecar.kafkaTls.certKey': { given: { 'sidecar.kafkaTls.existingSecret': 's' } },
  'sidecar.kafkaTls.keyKey': { given: { 'sidecar.kafkaTls': { existingSecret: 's', certKey: 'c' } } },
  'sidecar.redisTls.caKey': { given: { 'sidecar.redisTls.existingSecret': 's' } },
  'sidecar.redisTls.certKey': { given: { 'sidecar.redisTls.existingSecret': 's' } },
  'sidecar.redisTls.keyKey': { given: { 'sidecar.redisTls': { existingSecret: 's', certKey: 'c' } } },
  'sidecar.caBundle.key': { given: { 'sidecar.caBundle.configMap': 's' } },
  'sidecar.securityContext': { to: { runAsUser: 7 } },
  podSecurityContext: { to: { runAsUser: 7 } },
  containerSecurityContext: { to: { privileged: true } },
  'networkPolicy.invalidatorFrom': { to: peers },
  'networkPolicy.metricsFrom': { to: peers },
  'networkPolicy.egress.kafkaPorts': { to: [1] },
  'networkPolicy.egress.postgresPorts': { to: [1] },
  'networkPolicy.egress.redisPorts': { to: [1] },
  'networkPolicy.egress.apiServerPorts': { to: [1] },
  'networkPolicy.egress.dnsPorts': { to: [1] },
  'networkPolicy.egress.extra': { to: [{ to: peers }] },
  'selftest.table': { to: 'other.table' },
  'monitoring.sidecars.namespaceSelector': { to: { any: false, matchNames: ['shop'] } },
};
const aDuration: Trial = { to: '7s' };

let helm: Helm;
const scratch = scratchFolder('values');
const renders = new Map<string, Promise<string>>();
beforeAll(async () => {
  helm = await startHelm();
});
afterAll(async () => {
  await helm.remove();
  await scratch.remove();
});

/** The text of a render with values by path, on top of everything.yaml. */
function rendered(values: Readonly<Record<string, unknown>>): Promise<string> {
  const tree = {};
  for (const [path, value] of Object.entries(values)) setAt(tree, path.split('.'), value);
  const text = stringify(tree);
  const known = renders.get(text);
  if (known !== undefined) return known;
  const file = join(scratch.path, `${renders.size}.yaml`);
  writeFileSync(file, text);
  const fresh = renderText(helm, [minimal, everything, file]);
  renders.set(text, fresh);
  return fresh;
}

function setAt(tree: object, [key = '', ...rest]: readonly string[], value: unknown): void {
  const node = tree as Record<string, object>;
  if (rest.length === 0) node[key] = value as object;
  else setAt((node[key] ??= {}), rest, value);
}

/** The trial of a value: by its path, by its last keys where that always means the same, or by its type. */
function trialOf({ path, default: value }: ChartValue): { to: unknown; given: Readonly<Record<string, unknown>> } {
  const name = path.join('.');
  const { to, given = {} }: Trial =
    trials[name] ??
    trials[path.slice(-2).join('.')] ??
    trials[path.at(-1) ?? ''] ??
    (typeof value === 'string' && /^\d+(ms|s|m|h|d)$/.test(value) ? aDuration : {});
  if (to !== undefined) return { to, given };
  if (typeof value === 'boolean') return { to: !(isOn(name) ?? value), given };
  if (typeof value === 'number') return { to: Number.isInteger(value) ? value + 1 : value / 2, given };
  if (typeof value === 'string') return { to: 'changed', given };
  return { to: { changed: 'true' }, given };
}

/** What everything.yaml switches on. */
function isOn(name: string): boolean | undefined {
  const on =
    /^(postgres\.dropSlotOnUninstall|flush\.enabled|injection\.socket\.enabled|networkPolicy\.egress\.enabled|monitoring(\.(sidecars|rules|dashboards))?\.enabled)$/;
  return on.test(name) ? true : undefined;
}

const values = await readChartValues();

it.each(values.map((value) => [value.path.join('.'), value] as const))(
  '%s changes what is installed',
  async (name, value) => {
    const { to, given } = trialOf(value);
    const [before, after] = [await rendered(given), await rendered({ ...given, [name]: to })];
    expect(after).not.toBe(before);
  },
);

it('every trial is of a value that there is', () => {
  const names = new Set(values.flatMap(({ path }) => [path.join('.'), path.slice(-2).join('.'), path.at(-1)]));
  expect(Object.keys(trials).filter((name) => !names.has(name))).toEqual([]);
});
