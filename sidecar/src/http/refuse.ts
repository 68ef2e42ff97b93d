import type { IncomingMessage, ServerResponse } from 'node:http';
import { problem, type ProblemOptions } from '@tidemark/runtime';
import { discardBody } from './body.ts';
import { FieldError } from './fields.ts';

export type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** Answers with a problem before the body was read, and lets the body run into nothing. */
export function refuse(request: IncomingMessage, response: ServerResponse, options: ProblemOptions): void {
  problem(response, options);
  discardBody(request);
}

/** Answers 400 where a handler finds a header field that it cannot use. */
export function refusingFields(handler: Handler): Handler {
  return async (request, response) => {
    try {
      await handler(request, response);
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      refuse(request, response, { code: 'bad-request', detail: error.message });
    }
  };
}
