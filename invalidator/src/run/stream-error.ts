import type { Failure } from '../core/restart.ts';

/** The replication stream itself failed: the server refused it, cut it, or what it sent cannot be understood. */
export class StreamError extends Error {
  override name = 'StreamError';
  readonly failure: Failure;

  constructor(cause: Error) {
    super(cause.message, { cause });
    this.failure = failureOf(cause);
  }
}

function failureOf(cause: Error): Failure {
  if (cause.name === 'BrokenOrderError') return 'chain-broken';
  if (cause.name === 'PgoutputError') return 'stubborn';
  const { code, severity } = cause as { code?: string; severity?: string };
  // Only errors of the server have a severity; those of sockets have codes too.
  if (code === undefined || severity === undefined) return 'passing';
  // Classes 08 (connection), 53 (resources) and 57 (operator) pass by themselves.
  return /^(?:08|53|57)/.test(code) || code === OBJECT_IN_USE ? 'passing' : 'stubborn';
}

const OBJECT_IN_USE = '55006';
