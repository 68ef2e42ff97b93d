import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { V1ConfigMap, V1Deployment } from '@kubernetes/client-node';
import { freePort, type ProcessHandle } from '../../kit/index.ts';
import { tidemarkProcess } from '../../kit/tidemark.ts';
import type { Cluster } from '../../kit/kube/index.ts';

const chart = fileURLToPath(new URL('../../../charts/tidemark', import.meta.url));

/** Releases have no controllers here: what their Deployments describe is started by the test. */
export interface Release {
  readonly name: string;
  readonly namespace: string;
}

/** Installs the chart (or upgrades a release of it) with the least that it needs and the values given. */
export async function install(
  cluster: Cluster,
  { name, namespace }: Release,
  values: Readonly<Record<string, string>>,
): Promise<void> {
  const all = {
    'kafka.brokers': '{kafka.kafka.svc:9092}',
    'postgres.url': 'postgres://tidemark:secret@postgres.db.svc:5432/shop',
    // Two releases cannot both own the definition.
    'crds.install': 'false',
    ...values,
  };
  const sets = Object.entries(all).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  await cluster.helm('upgrade', '--install', name, chart, '--namespace', namespace, '--create-namespace', ...sets);
}

/** One process that a release's webhook Deployment describes. */
export interface Webhook extends ProcessHandle {
  /** What the API server would find behind the Service, were this the only pod. */
  readonly port: number;
  readonly health: string;
  /** What /readyz says: its status and its words. */
  readyz(): Promise<readonly [status: number, words: string]>;
  /** A value of /metrics, by the name behind `tidemark_webhook_`. */
  metric(name: string): Promise<number>;
}

/** Prepares a replica from the Deployment that the chart made: its environment, its files, and the rights of its account. */
export async function prepareWebhook(
  cluster: Cluster,
  options: {
    readonly release: Release;
    readonly name: string;
    readonly folder: string;
    readonly env?: Readonly<Record<string, string>>;
  },
): Promise<Webhook> {
  const { namespace } = options.release;
  const roleName = webhookName(options.release);
  const deployment = await cluster.objects.get<V1Deployment>({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: roleName, namespace },
  });
  const settings = await cluster.objects.get<V1ConfigMap>({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: roleName.replace(/webhook$/, 'injection'), namespace },
  });
  const pod = deployment?.spec?.template.spec;
  const [container] = pod?.containers ?? [];
  if (pod === undefined || container === undefined) throw new Error(`found no Deployment ${namespace}/${roleName}`);
  const folder = join(options.folder, options.name);
  mkdirSync(folder, { recursive: true });
  const injection = join(folder, 'injection.yaml');
  writeFileSync(injection, settings?.data?.['injection.yaml'] ?? '');
  const [port, healthPort] = [await freePort(), await freePort()];
  const rendered = (container.env ?? []).flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]]));
  const handle = await tidemarkProcess({
    role: 'webhook',
    name: options.name,
    supervise: false,
    env: {
      ...(Object.fromEntries(rendered) as Record<string, string>),
      TIDEMARK_INJECTION: injection,
      TIDEMARK_WEBHOOK_LISTEN: `127.0.0.1:${port}`,
      TIDEMARK_HTTP_LISTEN: `127.0.0.1:${healthPort}`,
      TIDEMARK_KUBECONFIG: await cluster.kubeconfigFor(namespace, pod.serviceAccountName ?? 'default'),
      ...options.env,
    },
  });
  const health = `http://127.0.0.1:${healthPort}`;
  return Object.assign(handle, {
    port,
    health,
    async readyz() {
      const response = await fetch(`${health}/readyz`, { signal: AbortSignal.timeout(30_000) });
      return [response.status, (await response.text()).trim()] as const;
    },
    async metric(metric: string) {
      const text = await (await fetch(`${health}/metrics`)).text();
      const line = text.split('\n').find((each) => each.startsWith(`tidemark_webhook_${metric} `));
      return Number(line?.split(' ').at(-1));
    },
  });
}

/** Leads what the API server asks the release's webhook to a port of this machine; none takes the route away. */
export function route(cluster: Cluster, release: Release, port?: number): void {
  cluster.routes.service({ namespace: release.namespace, name: webhookName(release), port: 443 }, port);
}

/** Name of the release's webhook: its Deployment, Service and ServiceAccount. */
export function webhookName({ name }: Release): string {
  return `${name}-webhook`;
}
