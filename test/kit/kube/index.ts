export { kubernetesVersion } from './binaries.ts';
export { type Cluster, startCluster } from './cluster.ts';
export { type Helm, startHelm } from './helm.ts';
export type { Manifest } from './objects.ts';
export { type PodRunner, startPodRunner } from './pods/runner.ts';
