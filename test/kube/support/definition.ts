import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import type { KubernetesObject } from '@kubernetes/client-node';
import { eventually } from '../../integration/support/eventually.ts';
import type { Cluster } from '../../kit/kube/index.ts';

const FILE = new URL('../../../charts/tidemark/files/crds/cachenamespaces.yaml', import.meta.url);

const SOON = { withinMs: 60_000, everyMs: 50 };

interface Definition extends KubernetesObject {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/**
 * Puts the definition of CacheNamespace into a cluster; settles when it is served. The API server writes that it is established
 * before it serves the kind and tells of it: what listens for that hears it a moment later.
 */
export async function defineCacheNamespaces(cluster: Cluster): Promise<void> {
  // As it is in the file: the typed client of the library leaves out what begins with x-kubernetes.
  const answer = await put(cluster, await readFile(FILE, 'utf8'));
  if (answer.status >= 300) throw new Error(answer.body);
  await eventually(async () => {
    const found = await cluster.objects.get<Definition>({
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'cachenamespaces.tidemark.dev' },
    });
    if (!found?.status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True'))
      throw new Error('the definition is not established yet');
    await cluster.objects.list('tidemark.dev/v1', 'CacheNamespace');
  }, SOON);
}

/** Server-side apply of a definition as YAML. */
async function put(cluster: Cluster, yaml: string): Promise<{ status: number; body: string }> {
  const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/cachenamespaces.tidemark.dev';
  const answered = Promise.withResolvers<IncomingMessage>();
  const call = request(`${cluster.url}${path}?fieldManager=test&fieldValidation=Strict`, {
    method: 'PATCH',
    ca: cluster.ca,
    headers: { authorization: `Bearer ${cluster.adminToken}`, 'content-type': 'application/apply-patch+yaml' },
  });
  call.on('response', answered.resolve).on('error', answered.reject).end(yaml);
  const answer = await answered.promise;
  return { status: answer.statusCode ?? 0, body: await text(answer) };
}
