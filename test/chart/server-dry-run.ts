import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import type { Cluster } from '../kit/kube/index.ts';
import type { Rendered } from './chart.ts';

/** What the API server says of an object that it is not to keep. */
export interface Verdict {
  readonly status: number;
  /** Its message where it refuses the object. */
  readonly message: string;
  /** Texts of the Warning headers: deprecated fields, what Pod Security would refuse. */
  readonly warnings: readonly string[];
}

/**
 * Creates an object with `dryRun=All&fieldValidation=Strict`: everything happens but that it is stored, admission included, and
 * an unknown or repeated field is an error.
 */
export function dryRun(cluster: Cluster, object: Rendered): Promise<Verdict> {
  return post(cluster, object, 'dryRun=All&fieldValidation=Strict');
}

/**
 * Creates an object as it is; rejects where it is refused. A client with types would leave out what its types spell otherwise, such as
 * x-kubernetes-preserve-unknown-fields.
 */
export async function create(cluster: Cluster, object: Rendered): Promise<void> {
  const { status, message } = await post(cluster, object, 'fieldValidation=Strict');
  if (status !== 201) throw new Error(`${object.kind} ${object.metadata.name}: ${status} ${message}`);
}

async function post(cluster: Cluster, object: Rendered, query: string): Promise<Verdict> {
  const { apiVersion, kind, metadata } = object;
  const group = apiVersion.includes('/') ? `apis/${apiVersion}` : `api/${apiVersion}`;
  const scope = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`;
  const url = `${cluster.url}/${group}${scope}/${plural(kind)}?${query}`;
  const headers = { authorization: `Bearer ${cluster.adminToken}`, 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    // A connection of its own: one that is kept may be closed by the server in the moment it is used again.
    const options = { method: 'POST', headers, ca: cluster.ca, agent: false, timeout: 60_000 };
    const asked = request(url, options, (response) => {
      text(response)
        .then((body) => {
          const warnings = [response.headers['warning'] ?? []].flat();
          return { status: response.statusCode ?? 0, message: messageIn(body), warnings };
        })
        .then(resolve, reject);
    });
    asked.on('timeout', () => asked.destroy(new Error('the API server does not answer')));
    asked.on('error', (error) => reject(new Error(`${kind} ${metadata.name}: ${error.message}`, { cause: error })));
    asked.end(JSON.stringify(object));
  });
}

/** The message of a Status; an object has none. What is served under no path is told in plain text. */
function messageIn(body: string): string {
  if (!body.startsWith('{')) return body;
  const { message } = JSON.parse(body) as { message?: unknown };
  return typeof message === 'string' ? message : '';
}

function plural(kind: string): string {
  const word = kind.toLowerCase();
  return word.endsWith('y') ? `${word.slice(0, -1)}ies` : `${word}s`;
}
