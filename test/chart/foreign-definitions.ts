import type { Rendered } from './chart.ts';

/**
 * Definitions of kinds that belong to others, so that an API server takes objects of them. They say nothing of the fields: those of
 * monitoring.coreos.com and cert-manager.io are checked by their own projects' API servers only.
 */
export const foreignDefinitions: readonly Rendered[] = [
  definition('monitoring.coreos.com', 'v1', 'ServiceMonitor'),
  definition('monitoring.coreos.com', 'v1', 'PodMonitor'),
  definition('monitoring.coreos.com', 'v1', 'PrometheusRule'),
  definition('cert-manager.io', 'v1', 'Certificate'),
  definition('cert-manager.io', 'v1', 'Issuer'),
];

function definition(group: string, version: string, kind: string): Rendered {
  const singular = kind.toLowerCase();
  const plural = `${singular}s`;
  const spec = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  const schema = { openAPIV3Schema: { type: 'object', properties: { spec } } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { kind, plural, singular },
      versions: [{ name: version, served: true, storage: true, schema }],
    },
  };
}
