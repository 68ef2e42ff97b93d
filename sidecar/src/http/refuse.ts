import type { IncomingMessage, ServerResponse } from 'node:http';
import { problem } from '@tidemark/runtime';
import { FieldError } from './fields.ts';

export type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** Answers 400 where a handler finds a header field that it cannot use. */
export function refusingFields(handler: Handler): Handler {
  return async (request, response) => {
    try {
      await handler(request, response);
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      problem(response, { code: 'bad-request', detail: error.message });
    }
  };
}
