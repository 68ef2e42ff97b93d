import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { problem } from '@tidemark/runtime';
import type { Decision } from '../core/injection/inject.ts';
import { answerReview, type AdmissionQuestion } from './admission-review.ts';

export interface InjectionRoutesOptions {
  readonly read: (body: unknown) => AdmissionQuestion | string;
  readonly decide: (question: AdmissionQuestion) => Decision;
  /** Is told how each request ended. */
  readonly onOutcome: (told: InjectionOutcome) => void;
  readonly onError: (error: unknown) => void;
}

export interface InjectionOutcome {
  readonly outcome: Decision['outcome'] | 'malformed' | 'failed';
  readonly ms: number;
  /** Namespace of the pod, where there was one. Nothing else of a pod is told: it may hold secrets. */
  readonly namespace?: string;
}

/** An API server takes at most 3 MiB itself (its `MaxRequestBodyBytes`). */
const MAX_BODY = '3mb';

/** The interface of `inject` for the API server: POST /inject. */
export function createInjectionRoutes(options: InjectionRoutesOptions): Express {
  const { read, decide, onOutcome, onError } = options;
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.post('/inject', express.json({ limit: MAX_BODY, type: 'application/json' }), (request, response) => {
    const beginMs = performance.now();
    if (request.is('application/json') === false) {
      problem(response, { code: 'unsupported-media-type', detail: 'expected application/json' });
      onOutcome({ outcome: 'malformed', ms: performance.now() - beginMs });
      return;
    }
    const question = read(request.body);
    if (typeof question === 'string') {
      problem(response, { code: 'bad-request', detail: question });
      onOutcome({ outcome: 'malformed', ms: performance.now() - beginMs });
      return;
    }
    const decision = decide(question);
    response.status(200).json(answerReview(question.uid, decision));
    onOutcome({ outcome: decision.outcome, ms: performance.now() - beginMs, namespace: question.namespace });
  });
  app.all('/inject', (_request, response) =>
    problem(response, { code: 'method-not-allowed', headers: { allow: 'POST' } }),
  );
  app.use((_request, response) => problem(response, { code: 'not-found' }));
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    const { status = 500, type = '' } = error as { status?: number; type?: string };
    onOutcome({ outcome: status < 500 ? 'malformed' : 'failed', ms: 0 });
    if (status === 413) problem(response, { code: 'too-large', detail: `expected at most ${MAX_BODY}` });
    else if (status < 500) problem(response, { code: 'bad-request', detail: `the body cannot be read (${type})` });
    else {
      onError(error);
      problem(response, { code: 'internal' });
    }
  });
  return app;
}
