import type { IncomingMessage, ServerResponse } from 'node:http';
import { problem } from '@tidemark/runtime';
import { CrowdedError } from './body.ts';
import { FieldError } from './fields.ts';

export type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** Answers 400 where a handler finds a header field that it cannot use, 503 where there is no room for what it is sent. */
export function refusingFields(handler: Handler): Handler {
  return async (request, response) => {
    try {
      await handler(request, response);
    } catch (error) {
      if (error instanceof CrowdedError) {
        problem(response, { code: 'unavailable', detail: error.message, headers: { 'retry-after': '1' } });
        return;
      }
      if (!(error instanceof FieldError)) throw error;
      problem(response, { code: 'bad-request', detail: error.message });
    }
  };
}
