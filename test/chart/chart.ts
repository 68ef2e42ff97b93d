import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import type { Helm } from '../kit/kube/index.ts';

/** The folder of the chart. */
export const chart = fileURLToPath(new URL('../../charts/tidemark', import.meta.url));
const valuesFolder = fileURLToPath(new URL('values', import.meta.url));

export const release = { name: 'demo', namespace: 'caches' } as const;

/** What `helm template` takes for granted when there is no cluster to ask, for charts that need it. */
const offered = [
  'monitoring.coreos.com/v1',
  'cert-manager.io/v1',
  'admissionregistration.k8s.io/v1/MutatingAdmissionPolicy',
];

/** A way to install the chart: a file below values/, or one that the chart brings along, on top of the least there is. */
export interface Scenario {
  readonly name: string;
  /** Files of values, later ones on top. */
  readonly files: readonly string[];
}

const own = readdirSync(valuesFolder).map((file) => join(valuesFolder, file));
export const minimal = join(valuesFolder, 'minimal.yaml');
export const everything = join(valuesFolder, 'everything.yaml');

export const scenarios: readonly Scenario[] = [
  ...own.map((file) => ({ name: nameOf(file), files: [file] })),
  { name: 'ha', files: [minimal, join(chart, 'values-ha.yaml')] },
].toSorted((a, b) => (a.name < b.name ? -1 : 1));

function nameOf(file: string): string {
  return file.replace(/^.*\/(.*)\.yaml$/, '$1');
}

/** An object of a render, as loosely as tests need it. */
export interface Rendered {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** Runs `helm template` and answers its text. Rejects with what helm says. */
export function renderText(helm: Helm, files: readonly string[], ...more: readonly string[]): Promise<string> {
  const values = files.flatMap((file) => ['--values', file]);
  const apis = offered.flatMap((api) => ['--api-versions', api]);
  return helm.run('template', release.name, chart, '--namespace', release.namespace, ...values, ...apis, ...more);
}

/** The same as objects. */
export async function render(helm: Helm, files: readonly string[], ...more: readonly string[]): Promise<Rendered[]> {
  return parse(await renderText(helm, files, ...more));
}

export function parse(text: string): Rendered[] {
  return parseAllDocuments(text, { uniqueKeys: true }).flatMap((document) => {
    if (document.errors.length > 0) throw new Error(document.errors.map(({ message }) => message).join('\n'));
    const value = document.toJS() as Rendered | null;
    return value === null ? [] : [value];
  });
}

/** The fields of a container that tests read. */
export interface RenderedContainer {
  readonly name: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: unknown }[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

export interface RenderedPod {
  readonly containers: readonly RenderedContainer[];
  readonly initContainers?: readonly RenderedContainer[];
  readonly volumes?: readonly { readonly name: string }[];
  readonly automountServiceAccountToken?: boolean;
}

/** The pod spec of a workload, or of a pod. */
export function podOf(object: Rendered): RenderedPod | undefined {
  const spec = object['spec'] as { template?: { spec: RenderedPod } } | undefined;
  if (object.kind === 'Pod') return spec as unknown as RenderedPod;
  return ['Deployment', 'Job'].includes(object.kind) ? spec?.template?.spec : undefined;
}
