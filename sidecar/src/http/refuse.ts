import type { IncomingMessage, ServerResponse } from 'node:http';
import { problem, type ProblemOptions } from '@tidemark/runtime';
import { discardBody } from './body.ts';

/** Answers with a problem before the body was read, and lets the body run into nothing. */
export function refuse(request: IncomingMessage, response: ServerResponse, options: ProblemOptions): void {
  problem(response, options);
  discardBody(request);
}
