import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppsV1Api, type V1Deployment } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { readChartValues } from '../../scripts/lib/chart-values.ts';
import { type Cluster, startCluster } from '../kit/kube/index.ts';
import { chart, type Rendered } from './chart.ts';
import { dryRun } from './server-dry-run.ts';

const text = readFileSync(join(chart, 'README.md'), 'utf8');
const prose = text.slice(0, text.indexOf('<!-- values'));

/** The lines of code blocks; `label` is what stands behind the fence. */
function blocks(label: string): string[] {
  const fences = [...prose.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)];
  return fences.filter(([, found]) => found === label).map(([, , code = '']) => code);
}

/** The words of a command, single quotes taken off. */
function words(line: string): string[] {
  return (line.match(/(?:'[^']*'|[^\s'])+/g) ?? []).map((word) => word.replaceAll("'", ''));
}

function commands(program: string): string[][] {
  const lines = ['sh', 'sh annotate', 'sh credentials', 'sh uninstall'].flatMap(blocks).join('\n').split('\n');
  return lines
    .map(words)
    .filter(([first]) => first === program)
    .map(([, ...args]) => args);
}

const created = (kind: string): string[][] =>
  commands('kubectl').filter((args) => args.includes('create') && args.includes(kind));

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
  for (const name of ['tidemark', 'shop'])
    await cluster.objects.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
});
afterAll(() => cluster.stop());

describe('the README', () => {
  it('installs in three commands, with the Secret under the name and key that the chart reads', async () => {
    expect(blocks('sh')[0]?.trim().split('\n')).toHaveLength(3);
    const [install = []] = commands('helm');
    await expect(cluster.helm(...install)).resolves.toContain('STATUS: deployed');
    const [secret = []] = created('secret');
    const name = secret[secret.indexOf('generic') + 1];
    const key = /^--from-literal=([^=]+)=/.exec(secret.at(-1) ?? '')?.[1];
    const reference = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'tidemark-invalidator', namespace: 'tidemark' },
    };
    const found = await cluster.objects.get<V1Deployment>(reference);
    const env = found?.spec?.template.spec?.containers[0]?.env?.find((each) => each.name === 'TIDEMARK_POSTGRES_URL');
    expect(env?.valueFrom?.secretKeyRef).toEqual({ name, key });
  });

  it('shows a CacheNamespace that the API server takes', async () => {
    const [resource = ''] = blocks('yaml resource');
    const object = parseYaml(resource) as Rendered;
    // The definition is served a moment after it was installed.
    await vi.waitFor(
      async () => {
        const verdict = await dryRun(cluster, { ...object, metadata: { ...object.metadata, namespace: 'shop' } });
        expect(verdict).toMatchObject({ status: 201, warnings: [] });
      },
      { timeout: 60_000 },
    );
  });

  it('annotates the pods of a workload', async () => {
    const patch = commands('kubectl').find((args) => args.includes('patch')) ?? [];
    const labels = { app: 'shop' };
    const spec = {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'shop', image: 'shop' }] } },
    };
    await cluster.objects.apply({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'shop', namespace: 'shop' },
      spec,
    });
    const body: unknown = JSON.parse(patch.at(-1) ?? '');
    const { template } = (body as { spec: { template: { metadata: object } } }).spec;
    await cluster.objects.apply({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'shop', namespace: 'shop' },
      spec: { ...spec, template: { ...spec.template, metadata: { labels, ...template.metadata } } },
    });
    const found = await cluster.api(AppsV1Api).readNamespacedDeployment({ name: 'shop', namespace: 'shop' });
    expect(found.spec?.template.metadata?.annotations).toEqual({ 'tidemark.dev/inject': 'enabled' });
  });

  it('names credentials as the sidecar reads them', () => {
    const [, credentials = []] = created('secret');
    const names = credentials.flatMap((word) => /^--from-literal=([A-Z_]+)=/.exec(word)?.[1] ?? []);
    expect(names).toEqual(['TIDEMARK_KAFKA_SASL_USERNAME', 'TIDEMARK_KAFKA_SASL_PASSWORD', 'TIDEMARK_REDIS_URL']);
  });

  it('speaks of values that there are', async () => {
    const values = (await readChartValues()).map(({ path }) => path.join('.'));
    const spoken = [...prose.matchAll(/`([a-z][A-Za-z]+(?:\.[A-Za-z]+)+)(?:=[^`]*)?`/g)].map(([, name = '']) => name);
    const paths = spoken.filter((name) => !/\.(sh|svc|yaml|dev)$|^(spec|status)\./.test(name));
    expect(paths.length).toBeGreaterThan(10);
    const known = (name: string): boolean =>
      values.some((value) => value === name || value.startsWith(`${name}.`) || name.startsWith(`${value}.`));
    expect(paths.filter((name) => !known(name))).toEqual([]);
  });

  it('speaks of annotations that the webhook knows', () => {
    const source = readFileSync(join(chart, '../../invalidator/src/core/injection/annotations.ts'), 'utf8');
    const named = [...prose.matchAll(/`(?:config\.tidemark\.dev\/|…\/)([a-z-]+)`/g)].map(([, name = '']) => name);
    expect(named.length).toBeGreaterThan(8);
    for (const name of named) expect(source).toContain(name);
  });

  it('uninstalls', async () => {
    const uninstall = commands('helm').find(([first]) => first === 'uninstall') ?? [];
    await expect(cluster.helm(...uninstall)).resolves.toContain('uninstalled');
  });
});
