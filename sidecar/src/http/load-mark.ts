import type { IncomingMessage } from 'node:http';
import type { ProblemOptions } from '@tidemark/runtime';
import type { Namespace } from '../core/namespace.ts';

const FIELD = 'tidemark-load';

/**
 * What the request of a load says in `Tidemark-Load`: that it is one, and of what (an item of RFC 9651 with a parameter). Whoever asks the
 * cache while he answers it sends that along, as with CDN-Loop (RFC 8586), so that he is told where he would wait for himself.
 */
export function loadMark(namespace: string, address: string): string {
  return `?1;of="${nameOf(namespace, address)}"`;
}

/** Whether a request is part of the load of the very value that it asks for. */
export function isOwnLoad(request: IncomingMessage, namespace: Namespace, address: string): boolean {
  const field = request.headersDistinct[FIELD]?.join(',');
  return field?.includes(`;of="${nameOf(namespace.name, address)}"`) === true && namespace.loads(address);
}

/** 508, as in RFC 5842: nobody but the load that is waiting could give it the value. */
export const OWN_LOAD: ProblemOptions = {
  code: 'load-loop',
  detail:
    'found Tidemark-Load of this value: it is being loaded by whoever asks for it here. Answer the load from where the value is kept, not from the cache',
  headers: { 'cache-status': 'tidemark; fwd=miss; detail=load-loop' },
};

/** Visible ASCII without quotes, so fit for a string of RFC 9651. */
function nameOf(namespace: string, address: string): string {
  return `${namespace}/${encodeURIComponent(address)}`;
}
