import type { IncomingMessage, ServerResponse } from 'node:http';
import { formatLsn, purgeSchema } from '@tidemark/proto';
import { problem } from '@tidemark/runtime';
import type { Namespace } from '../core/namespace.ts';
import type { Purger } from '../core/purger.ts';
import { readBody } from './body.ts';
import { refuse } from './refuse.ts';

const MAX_PURGE_BYTES = 1024 * 1024;

/** `POST /v1/purge`: keys, tags and whole namespaces, through the WAL. */
export function purgeRoute(options: {
  namespaces: ReadonlyMap<string, Namespace>;
  purger: Purger;
}): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  return async (request, response) => {
    const read = await readBody(request, response, MAX_PURGE_BYTES);
    if (!read.ok) {
      if (read.why === 'too-large')
        refuse(request, response, { code: 'too-large', detail: `a purge has at most ${MAX_PURGE_BYTES} bytes` });
      return;
    }
    const parsed = purgeSchema.safeParse(parseJson(read.body));
    if (!parsed.success) {
      const issues = parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
      problem(response, { code: 'bad-request', detail: 'the body is no purge', extra: { issues } });
      return;
    }
    for (const { namespace: name } of parsed.data.purge) {
      const namespace = options.namespaces.get(name);
      if (namespace === undefined) {
        problem(response, {
          code: 'unknown-namespace',
          detail: `no namespace "${name}" is configured for this sidecar`,
        });
        return;
      }
      if (namespace.rules === undefined) {
        problem(response, {
          code: 'bad-request',
          detail: `namespace "${name}" is ttl_only: no purge reaches its entries, except DELETE of a key on each sidecar`,
        });
        return;
      }
    }
    const outcome = await options.purger.purge(parsed.data);
    if (outcome.ok) response.writeHead(204, { 'Tidemark-Lsn': formatLsn(outcome.lsn) }).end();
    else problem(response, { code: 'unavailable', detail: outcome.detail, headers: { 'retry-after': '1' } });
  };
}

/** Undefined, which no schema accepts, for what is no JSON. */
function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch {
    return undefined;
  }
}
