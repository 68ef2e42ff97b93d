import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Helm, startHelm } from '../kit/kube/index.ts';
import { chart, render, renderText, scenarios } from './chart.ts';

let helm: Helm;
beforeAll(async () => {
  helm = await startHelm();
});
afterAll(() => helm.remove());

/** Without what is kept in files of the chart as it is: the definition of CacheNamespace and the dashboards. */
function withoutFiles(text: string): string {
  const source = /^# Source: tidemark\/templates\/(crds|monitoring\/dashboards)\.yaml$/m;
  const parts = text.split(/^---\n/m);
  return parts.filter((part) => !source.test(part)).join('---\n');
}

describe.each(scenarios)('values $name', ({ name, files }) => {
  // npm test -- test/chart/golden -u writes them again; look at the difference before it is committed.
  it('render as they did', async () => {
    await expect(withoutFiles(await renderText(helm, files))).toMatchFileSnapshot(`golden/${name}.yaml`);
  });

  it('pass helm lint --strict', async () => {
    const values = files.flatMap((file) => ['--values', file]);
    await expect(helm.run('lint', '--strict', chart, ...values)).resolves.toContain('0 chart(s) failed');
  });

  it('give each object a name of its own, our labels and, unless it is of the whole cluster, the namespace', async () => {
    const objects = await render(helm, files);
    const ids = objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    expect(new Set(ids).size).toBe(ids.length);
    const clusterWide = /^(ClusterRole|ClusterRoleBinding|CustomResourceDefinition|(Mutating|Validating).*)$/;
    for (const { kind, metadata } of objects) {
      expect(metadata.namespace, `${kind} ${metadata.name}`).toBe(clusterWide.test(kind) ? undefined : 'caches');
      if (kind === 'CustomResourceDefinition') continue;
      expect(metadata.labels).toMatchObject({ 'app.kubernetes.io/instance': 'demo' });
    }
  });
});
