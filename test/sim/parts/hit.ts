import type { IncomingMessage, ServerResponse } from 'node:http';
import type { hitPath } from '../../../sidecar/src/http/hit-path.ts';
import type { KeySpec } from './keys.ts';

/** What L1 alone answers, in front of everything else. */
export function hitOf(hits: ReturnType<typeof hitPath>, { namespace, key }: KeySpec): Uint8Array | undefined {
  let body: Uint8Array | undefined;
  const response = {
    writeHead: () => response,
    end: (text: string) => {
      body = Buffer.from(text, 'latin1');
    },
  };
  const request = { method: 'GET', url: `/v1/cache/${namespace}/${key}`, rawHeaders: [] };
  hits(request as unknown as IncomingMessage, response as unknown as ServerResponse);
  return body;
}
