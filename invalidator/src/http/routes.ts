import { isUtf8 } from 'node:buffer';
import type { RequestListener } from 'node:http';
import express, { type Request, type Response } from 'express';
import { describeIssues, formatLsn, purgeSchema, type Lsn, type PurgeRequest } from '@tidemark/proto';
import { answerHealth, methodNotAllowed, problem, type Health } from '@tidemark/runtime';
import { sealed } from './sealed.ts';
import type { FlushedAnswer, PositionAnswer } from '../core/position.ts';

export interface RoutesOptions {
  readonly health: Health;
  /** Writes a purge into the WAL. Rejects when Postgres cannot be reached or does not answer in time. */
  readonly purge: (request: PurgeRequest) => Promise<Lsn>;
  readonly onPurge: (status: number) => void;
  /** Where the database stands; undefined while no stream of this server is followed. Rejects likewise. */
  readonly position: () => Promise<PositionAnswer | undefined>;
  /** How far the writes of a topic were flushed. Likewise. */
  readonly flushed: (topic: string) => Promise<FlushedAnswer | undefined>;
  /** The configuration that holds, for people; undefined where this process does not decide it. */
  readonly config: () => object | undefined;
  readonly onError: (error: unknown) => void;
}

const MAX_BODY = '1mb';
const RETRY_AFTER_S = '1';
/** What is no UTF-8 would be read as U+FFFD, and another name be purged than the one that was meant. */
function refuseOtherBytes(_request: unknown, _response: unknown, body: Buffer, encoding: string): void {
  if (encoding === 'utf-8' && !isUtf8(body)) throw Object.assign(new Error('no UTF-8'), { status: 400 });
}

const FLUSHED_PATH = '/v1/flushed/:topic';

/** The interface of `run`: probes, metrics, POST /v1/purge, GET /v1/position, GET /v1/flushed/{topic} and GET /v1/config. */
export function createRoutes(options: RoutesOptions): RequestListener {
  const { health, purge, position, flushed, config, onPurge, onError } = options;
  const app = express();
  app.disable('x-powered-by').disable('etag').set('query parser', false);
  app.enable('case sensitive routing').enable('strict routing');
  app.get(['/livez', '/readyz', '/metrics'], (request, response) => void answerHealth(health, request.path, response));
  const answerPurge = async (request: Request, response: Response): Promise<void> => {
    const parsed = purgeSchema.safeParse(request.body);
    if (!parsed.success) {
      problem(response, { code: 'bad-request', detail: `expected a purge: ${describeIssues(parsed.error)}` });
      return;
    }
    try {
      response.status(200).json({ lsn: formatLsn(await purge(parsed.data)) });
    } catch (error) {
      onError(error);
      const headers = { 'retry-after': RETRY_AFTER_S };
      problem(response, { code: 'unavailable', detail: 'Postgres cannot be reached', headers });
    }
  };
  const answerPosition = async (ask: () => Promise<object | undefined>, response: Response): Promise<void> => {
    const headers = { 'retry-after': RETRY_AFTER_S };
    try {
      const found = await ask();
      if (found === undefined)
        problem(response, { code: 'unavailable', detail: 'no stream of this server is followed', headers });
      else response.set('cache-control', 'no-store').status(200).json(found);
    } catch (error) {
      onError(error);
      problem(response, { code: 'unavailable', detail: 'Postgres cannot be reached', headers });
    }
  };
  app.post(
    '/v1/purge',
    express.json({ limit: MAX_BODY, type: () => true, verify: refuseOtherBytes }),
    (request, response, next) => {
      answerPurge(request, response).then(() => onPurge(response.statusCode), next);
    },
  );
  app.get('/v1/position', (_request, response, next) => {
    answerPosition(position, response).then(() => undefined, next);
  });
  app.get(FLUSHED_PATH, (request, response, next) => {
    answerPosition(() => flushed(request.params.topic), response).then(() => undefined, next);
  });
  app.get('/v1/config', (_request, response) => {
    const found = config();
    if (found === undefined) problem(response, { code: 'unavailable', detail: 'this process does not lead' });
    else response.set('cache-control', 'no-store').status(200).json(found);
  });
  app.all(['/livez', '/readyz', '/metrics', '/v1/position', FLUSHED_PATH, '/v1/config'], (request, response) =>
    methodNotAllowed(request, response, 'GET, HEAD'),
  );
  app.all('/v1/purge', (request, response) => methodNotAllowed(request, response, 'POST'));
  return sealed(app, { maxBody: MAX_BODY, onError });
}
