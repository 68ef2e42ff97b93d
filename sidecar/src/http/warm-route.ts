import { describeIssues, warmDefaults, warmOrderSchema } from '@tidemark/proto';
import { methodNotAllowed, notFound, problem, shown } from '@tidemark/runtime';
import type { ServerResponse } from 'node:http';
import type { Namespaces } from '../core/namespace.ts';
import type { WarmOrder } from '../core/warm-job.ts';
import type { Warmer } from '../core/warmer.ts';
import { readBody } from './body.ts';
import { parseJson } from './json.ts';
import { refusingFields, type Handler } from './refuse.ts';

const PATH = '/v1/warm';
const MAX_BYTES = 8 * 1024 * 1024;

/**
 * `POST /v1/warm` begins a warming; `GET` shows what became of them, and `DELETE` ends them: all, or with an id behind the path one.
 */
export function warmRoute({ namespaces, warmer }: { namespaces: Namespaces; warmer: Warmer | undefined }): Handler {
  return refusingFields(async (request, response) => {
    const { method = '', url = '' } = request;
    const id = url === PATH ? undefined : url.slice(PATH.length + 1);
    const allowed = id === undefined ? ['GET', 'HEAD', 'POST', 'DELETE'] : ['GET', 'HEAD', 'DELETE'];
    if (!allowed.includes(method)) {
      methodNotAllowed(request, response, allowed.join(', '));
      return;
    }
    if (warmer === undefined) {
      problem(response, { code: 'unavailable', detail: 'this sidecar has no configuration yet' });
      return;
    }
    if (method === 'POST') {
      const read = await readBody(request, response, MAX_BYTES);
      if (read.ok) order({ namespaces, warmer }, read.body, response);
      else if (read.why === 'too-large')
        problem(response, { code: 'too-large', detail: `what is to be warmed has at most ${MAX_BYTES} bytes` });
      return;
    }
    const jobs = warmer.jobs();
    const job = jobs.find((each) => each.id === id);
    if (id !== undefined && job === undefined) notFound(request, response);
    else if (method === 'DELETE') {
      if (job === undefined) warmer.cancelAll();
      else warmer.cancel(job.id);
      response.writeHead(204).end();
    } else answerJson(response, 200, job ?? { warmings: jobs });
  });
}

function order(
  { namespaces, warmer }: { namespaces: Namespaces; warmer: Warmer },
  body: Uint8Array,
  response: ServerResponse,
): void {
  const parsed = warmOrderSchema.safeParse(parseJson(body));
  if (!parsed.success) {
    problem(response, {
      code: 'bad-request',
      detail: `expected what to warm, in JSON of UTF-8: ${describeIssues(parsed.error)}`,
    });
    return;
  }
  const { namespace: name, keys, hot, sql } = parsed.data;
  const namespace = namespaces.get(name);
  if (namespace === undefined) {
    const detail = `no namespace ${shown(name)} is configured for this sidecar`;
    problem(response, { code: 'unknown-namespace', detail });
    return;
  }
  const { most, sql: query } = namespace.config.warm ?? warmDefaults;
  const complaint =
    keys !== undefined && namespace.variants !== undefined
      ? `namespace "${name}" has vary: a key alone does not say whose value it is; hot does`
      : sql === true && query === undefined
        ? `namespace "${name}" has no warm.sql in the configuration`
        : undefined;
  if (complaint !== undefined) {
    problem(response, { code: 'bad-request', detail: complaint });
    return;
  }
  const of: WarmOrder =
    keys !== undefined
      ? { namespace: name, by: 'request', what: 'keys', keys, most: keys.length }
      : { namespace: name, by: 'request', what: hot === undefined ? 'sql' : 'hot', most: Math.min(hot ?? most, most) };
  const id = warmer.order(of);
  if (id === undefined) {
    const detail = 'too many warmings wait for their turn';
    problem(response, { code: 'unavailable', detail, headers: { 'retry-after': '1' } });
    return;
  }
  answerJson(response, 202, { id }, { location: `${PATH}/${id}` });
}

function answerJson(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    ...headers,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  });
  response.end(response.req.method === 'HEAD' ? undefined : text);
}
