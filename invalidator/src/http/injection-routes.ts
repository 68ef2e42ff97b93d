import type { RequestListener } from 'node:http';
import express from 'express';
import { methodNotAllowed, problem } from '@tidemark/runtime';
import type { Decision } from '../core/injection/inject.ts';
import { answerReview, type AdmissionQuestion } from './admission-review.ts';
import { sealed } from './sealed.ts';

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
export function createInjectionRoutes(options: InjectionRoutesOptions): RequestListener {
  const { read, decide, onOutcome, onError } = options;
  const app = express();
  app.disable('x-powered-by').disable('etag').set('query parser', false);
  app.enable('case sensitive routing').enable('strict routing');
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
  app.all('/inject', (request, response) => methodNotAllowed(request, response, 'POST'));
  return sealed(app, {
    maxBody: MAX_BODY,
    onRefused: () => onOutcome({ outcome: 'malformed', ms: 0 }),
    onError: (error) => {
      onOutcome({ outcome: 'failed', ms: 0 });
      onError(error);
    },
  });
}
