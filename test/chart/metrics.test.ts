import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApplyMetrics } from '../../invalidator/src/apply/metrics.ts';
import { FlushMetrics } from '../../invalidator/src/flush/metrics.ts';
import { InjectMetrics } from '../../invalidator/src/inject/metrics.ts';
import { RunMetrics } from '../../invalidator/src/run/metrics.ts';
import { type Helm, startHelm } from '../kit/kube/index.ts';
import { chart, everything, minimal, render } from './chart.ts';

let helm: Helm;
beforeAll(async () => {
  helm = await startHelm();
});
afterAll(() => helm.remove());

/** Metrics with their labels, as Prometheus text tells them. */
async function exported(): Promise<Map<string, string>> {
  const texts = await Promise.all([
    new RunMetrics().render(),
    new ApplyMetrics().render(),
    new FlushMetrics().render(),
    new InjectMetrics().render(),
  ]);
  return new Map(
    texts.flatMap(({ body }) =>
      [...body.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]),
    ),
  );
}

/**
 * Those of the sidecar stand in its source as whole names; its registry needs all of its parts. The prefix "tidemark_" of what
 * prom-client measures by itself is put before its documented names.
 */
const sidecarSources = join(chart, '../../sidecar/src');
const metricFiles = [
  'metrics.ts',
  ...readdirSync(join(sidecarSources, 'metrics')).map((file) => join('metrics', file)),
];
const sidecarSource = metricFiles.map((file) => readFileSync(join(sidecarSources, file), 'utf8')).join('');

async function isExported(name: string): Promise<boolean> {
  const known = await exported();
  const base = name.replace(/_(bucket|sum|count)$/, '');
  if (known.has(name) || known.get(base) === 'histogram') return true;
  const own = name.startsWith('tidemark_nodejs_') || name.startsWith('tidemark_process_');
  return own ? known.has(name.slice('tidemark_'.length)) : new RegExp(`'(${name}|${base})'`).test(sidecarSource);
}

function namesIn(expression: string): string[] {
  return [...expression.matchAll(/\btidemark_[a-z0-9_]+/g)].map(([name]) => name);
}

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: Readonly<Record<string, string>>;
}

async function rules(): Promise<Rule[]> {
  const objects = await render(helm, [minimal, everything], '--show-only', 'templates/monitoring/rules.yaml');
  const [{ spec } = { spec: undefined }] = objects;
  return (spec as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules);
}

it('alerts are about metrics that some process exports, and say what to do', async () => {
  const found = await rules();
  expect(found.length).toBeGreaterThan(12);
  for (const { alert, expr, annotations } of found) {
    expect(namesIn(expr), alert).not.toEqual([]);
    for (const name of namesIn(expr)) expect(await isExported(name), `${alert}: ${name}`).toBe(true);
    expect(annotations['summary'], alert).toBeTruthy();
    expect(annotations['description'], alert).toBeTruthy();
    expect((expr.match(/\(/g) ?? []).length, expr).toBe((expr.match(/\)/g) ?? []).length);
  }
  expect(new Set(found.map(({ alert }) => alert)).size).toBe(found.length);
});

it('a metric that nobody exports would be found', async () => {
  expect(await isExported('tidemark_invalidator_no_such_metric')).toBe(false);
  expect(await isExported('tidemark_no_such_metric')).toBe(false);
});

interface Dashboard {
  readonly uid: string;
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly targets: readonly { readonly expr: string }[];
  }[];
}

describe.each(readdirSync(join(chart, 'dashboards')))('dashboard %s', (file) => {
  const { uid, panels } = JSON.parse(readFileSync(join(chart, 'dashboards', file), 'utf8')) as Dashboard;

  it('shows metrics that some process exports', async () => {
    expect(uid).toMatch(/^tidemark-/);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { title, targets } of panels)
      for (const { expr } of targets) {
        expect(namesIn(expr), title).not.toEqual([]);
        for (const name of namesIn(expr)) expect(await isExported(name), `${title}: ${name}`).toBe(true);
      }
  });
});
