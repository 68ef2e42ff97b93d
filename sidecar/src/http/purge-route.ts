import { describeIssues, purgeSchema } from '@tidemark/proto';
import { problem, shown } from '@tidemark/runtime';
import type { Namespaces } from '../core/namespace.ts';
import type { Purger } from '../core/purger.ts';
import type { Sessions } from '../core/sessions.ts';
import { answerPurge } from './answers.ts';
import { readBody } from './body.ts';
import { parseJson } from './json.ts';
import { refusingFields, type Handler } from './refuse.ts';
import { visitOf } from './visits.ts';

const MAX_PURGE_BYTES = 1024 * 1024;

/** `POST /v1/purge`: keys, tags and whole namespaces, through the WAL. */
export function purgeRoute(options: { namespaces: Namespaces; purger: Purger; sessions: Sessions }): Handler {
  return refusingFields(async (request, response) => {
    const visit = visitOf(options.sessions, request);
    const read = await readBody(request, response, MAX_PURGE_BYTES);
    if (!read.ok) {
      if (read.why === 'too-large')
        problem(response, { code: 'too-large', detail: `a purge has at most ${MAX_PURGE_BYTES} bytes` });
      return;
    }
    const parsed = purgeSchema.safeParse(parseJson(read.body));
    if (!parsed.success) {
      problem(response, {
        code: 'bad-request',
        detail: `expected a purge, in JSON of UTF-8: ${describeIssues(parsed.error)}`,
      });
      return;
    }
    for (const { namespace: name } of parsed.data.purge) {
      const namespace = options.namespaces.get(name);
      if (namespace === undefined) {
        problem(response, {
          code: 'unknown-namespace',
          detail: `no namespace ${shown(name)} is configured for this sidecar`,
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
    answerPurge(response, await options.purger.purge(parsed.data), visit);
  });
}
