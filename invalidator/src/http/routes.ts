import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { formatLsn, purgeSchema, type Lsn, type PurgeRequest } from '@tidemark/proto';
import { answerHealth, problem, type Health } from '@tidemark/runtime';

export interface RoutesOptions {
  readonly health: Health;
  /** Writes a purge into the WAL. Rejects when Postgres cannot be reached or does not answer in time. */
  readonly purge: (request: PurgeRequest) => Promise<Lsn>;
  readonly onPurge: (status: number) => void;
  readonly onError: (error: unknown) => void;
}

const MAX_BODY = '1mb';
const RETRY_AFTER_S = '1';

/** The interface of `run`: probes, metrics, and POST /v1/purge. */
export function createRoutes(options: RoutesOptions): Express {
  const { health, purge, onPurge, onError } = options;
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
  app.post('/v1/purge', express.json({ limit: MAX_BODY, type: () => true }), (request, response, next) => {
    answerPurge(request, response).then(() => onPurge(response.statusCode), next);
  });
  app.all(['/livez', '/readyz', '/metrics'], (_request, response) =>
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
