import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { formatLsn, purgeSchema, type Lsn, type PurgeRequest } from '@tidemark/proto';
import { answerHealth, problem, type Health } from '@tidemark/runtime';
import type { PositionAnswer } from '../core/position.ts';

export interface RoutesOptions {
  readonly health: Health;
  /** Writes a purge into the WAL. Rejects when Postgres cannot be reached or does not answer in time. */
  readonly purge: (request: PurgeRequest) => Promise<Lsn>;
  readonly onPurge: (status: number) => void;
  /** Where the database stands; undefined while no stream of this server is followed. Rejects likewise. */
  readonly position: () => Promise<PositionAnswer | undefined>;
  /** The configuration that holds, for people; undefined where this process does not decide it. */
  readonly config: () => object | undefined;
  readonly onError: (error: unknown) => void;
}

const MAX_BODY = '1mb';
const RETRY_AFTER_S = '1';

/** The interface of `run`: probes, metrics, POST /v1/purge, GET /v1/position and GET /v1/config. */
export function createRoutes(options: RoutesOptions): Express {
  const { health, purge, position, config, onPurge, onError } = options;
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.get(['/livez', '/readyz', '/metrics'], (request, response) => void answerHealth(health, request.path, response));
  const answerPurge = async (request: Request, response: Response): Promise<void> => {
    const parsed = purgeSchema.safeParse(request.body);
    if (!parsed.success) {
      const issues = parsed.error.issues.map(
        ({ path, message }) => `${path.map(String).join('.') || 'body'}: ${message}`,
      );
      problem(response, { code: 'bad-request', detail: issues.join('; ') });
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
  const answerPosition = async (response: Response): Promise<void> => {
    const headers = { 'retry-after': RETRY_AFTER_S };
    try {
      const found = await position();
      if (found === undefined)
        problem(response, { code: 'unavailable', detail: 'no stream of this server is followed', headers });
      else response.set('cache-control', 'no-store').status(200).json(found);
    } catch (error) {
      onError(error);
      problem(response, { code: 'unavailable', detail: 'Postgres cannot be reached', headers });
    }
  };
  app.post('/v1/purge', express.json({ limit: MAX_BODY, type: () => true }), (request, response, next) => {
    answerPurge(request, response).then(() => onPurge(response.statusCode), next);
  });
  app.get('/v1/position', (_request, response, next) => {
    answerPosition(response).then(() => undefined, next);
  });
  app.get('/v1/config', (_request, response) => {
    const found = config();
    if (found === undefined) problem(response, { code: 'unavailable', detail: 'this process does not lead' });
    else response.set('cache-control', 'no-store').status(200).json(found);
  });
  app.all(['/livez', '/readyz', '/metrics', '/v1/position', '/v1/config'], (_request, response) =>
    problem(response, { code: 'method-not-allowed', headers: { allow: 'GET, HEAD' } }),
  );
  app.all('/v1/purge', (_request, response) =>
    problem(response, { code: 'method-not-allowed', headers: { allow: 'POST' } }),
  );
  app.use((_request, response) => problem(response, { code: 'not-found' }));
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    const { status = 500, message = '' } = error as { status?: number; message?: string };
    if (status === 413) problem(response, { code: 'too-large', detail: `expected at most ${MAX_BODY}` });
    else if (status < 500) problem(response, { code: 'bad-request', detail: message });
    else {
      onError(error);
      problem(response, { code: 'internal' });
    }
  });
  return app;
}
