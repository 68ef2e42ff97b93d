import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import express, { type NextFunction, type Request, type Response } from 'express';
import {
  answerHealth,
  badTarget,
  hasPath,
  methodNotAllowed,
  notFound,
  problem,
  type Health,
  type Logger,
} from '@tidemark/runtime';
import type { Status } from '../core/status.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

export interface AppOptions {
  readonly health: Health;
  readonly status: () => Status;
  readonly openapi: object;
  /** Absent on the admin listener. */
  readonly cache?: Handler;
  readonly purge?: Handler;
  readonly batch?: Handler;
  readonly write?: Handler;
  readonly warm?: Handler;
  readonly logger: Logger;
}

const CACHE_PATH = /^\/v1\/cache(?:\/|$)/;
const WRITE_PATH = /^\/v1\/write(?:\/|$)/;
const WARM_PATH = /^\/v1\/warm(?:\/[\w-]{1,64})?$/;

/** Everything that the hit path leaves over. */
export function createApp(options: AppOptions): RequestListener {
  const { cache, purge, batch, write, warm, health, logger } = options;
  const app = express();
  app.disable('x-powered-by').disable('etag').set('query parser', false);
  app.enable('case sensitive routing').enable('strict routing');
  if (cache !== undefined) app.all(CACHE_PATH, cache);
  if (write !== undefined) app.all(WRITE_PATH, write);
  if (warm !== undefined) app.all(WARM_PATH, warm);
  if (purge !== undefined) app.route('/v1/purge').post(purge).all(allowOnly('POST'));
  if (batch !== undefined) app.route('/v1/batch').post(batch).all(allowOnly('POST'));
  app
    .route('/v1/status')
    .get((_request, response) => answerJson(response, options.status()))
    .all(allowOnly('GET, HEAD'));
  app
    .route('/openapi.json')
    .get((_request, response) => answerJson(response, options.openapi))
    .all(allowOnly('GET, HEAD'));
  for (const path of ['/livez', '/readyz', '/metrics']) {
    app
      .route(path)
      .get((_request, response) => void answerHealth(health, path, response))
      .all(allowOnly('GET, HEAD'));
  }
  app.use((request: Request, response: Response) => notFound(request, response));
  // Express knows an error handler by its four parameters.
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    logger.error({ err: error, method: request.method }, 'a request failed');
    if (response.headersSent) response.destroy();
    else problem(response, { code: 'internal' });
  });
  return (request, response) => {
    if (hasPath(request)) app(request, response);
    // It says what is wrong with a key.
    else if (cache !== undefined && CACHE_PATH.test(request.url ?? '')) void cache(request, response);
    else if (write !== undefined && WRITE_PATH.test(request.url ?? '')) void write(request, response);
    else badTarget(request, response);
  };
}

function answerJson(response: ServerResponse, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  });
  response.end(response.req.method === 'HEAD' ? undefined : text);
}

function allowOnly(allow: string): (request: Request, response: Response) => void {
  return (request, response) => methodNotAllowed(request, response, allow);
}
