export { kubeBinary, kubernetesVersion } from './binaries.ts';
export { type Cluster, type ClusterOptions, startCluster } from './cluster.ts';
export type { Routes } from './egress.ts';
export { type Helm, startHelm } from './helm.ts';
export type { Manifest, Objects, Reference } from './objects.ts';
export { type PodRunner, type PodRunnerOptions, startPodRunner } from './pods/runner.ts';
