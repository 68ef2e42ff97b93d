import { badTarget, hasPath, notFound, problem, type ProblemOptions } from '@tidemark/runtime';
import type { Express, NextFunction, Request, Response } from 'express';
import type { RequestListener } from 'node:http';

/**
 * What routes end with: unknown paths, bodies that cannot be read, failures of our own, and targets that Express would not
 * understand. Nothing may be added to the app afterwards.
 *
 * @param options.maxBody the limit of a body, as a person reads it
 * @param options.onRefused called for a body that could not be read
 */
export function sealed(
  app: Express,
  options: { readonly maxBody: string; readonly onRefused?: () => void; readonly onError: (error: unknown) => void },
): RequestListener {
  const { maxBody, onRefused, onError } = options;
  app.use((request, response) => notFound(request, response));
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    const refusal = bodyRefusal(error, maxBody);
    if (refusal === undefined) {
      onError(error);
      problem(response, { code: 'internal' });
    } else {
      onRefused?.();
      problem(response, refusal);
    }
  });
  return (request, response) => {
    if (hasPath(request)) void app(request, response);
    else badTarget(request, response);
  };
}

/**
 * What to answer where Express could not read a body; undefined for a failure of our own. It says what kind of mistake it was,
 * never what was found: a body may hold secrets.
 *
 * @param most the limit, as a person reads it
 */
function bodyRefusal(error: unknown, most: string): ProblemOptions | undefined {
  const { status = 500, type = '' } = error as { status?: number; type?: string };
  // Its caller has gone away or sends another one; nobody of ours failed (raw-body, "stream.not.readable").
  if (status >= 500 && type !== 'stream.not.readable') return undefined;
  switch (status) {
    case 413:
      return { code: 'too-large', detail: `expected at most ${most}` };
    case 415:
      return { code: 'unsupported-media-type', detail: `expected JSON in UTF-8, compressed or not (${type})` };
    default:
      return { code: 'bad-request', detail: `the body cannot be read: expected a JSON document in UTF-8 (${type})` };
  }
}
