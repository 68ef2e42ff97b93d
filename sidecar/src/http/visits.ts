import type { IncomingMessage } from 'node:http';
import { parseLsn } from '@tidemark/proto';
import type { Namespace } from '../core/namespace.ts';
import type { Target } from '../core/position.ts';
import { parseSession, type SessionToken } from '../core/session-token.ts';
import type { Sessions, Visit } from '../core/sessions.ts';
import { FieldError } from './fields.ts';

const MIN_LSN = /^(?:([1-9]\d{0,15}):)?([^:]+)$/;

/** What `Tidemark-Session` and `Tidemark-Min-Lsn` demand; undefined without either of them. Throws {@link FieldError}. */
export function visitOf(sessions: Sessions, request: IncomingMessage): Visit | undefined {
  const min = request.headersDistinct['tidemark-min-lsn'];
  const session = request.headersDistinct['tidemark-session'];
  if (min === undefined && session === undefined) return undefined;
  return sessions.visit({ min: min && parseMinLsn(min), token: session && parseToken(session) });
}

/** A namespace that opted out of coherence follows no positions: to ignore that would break what the caller counts on. */
export function refuseMinLsn(request: IncomingMessage, namespace: Namespace): void {
  if (namespace.rules === undefined && request.headers['tidemark-min-lsn'] !== undefined)
    throw new FieldError(`Tidemark-Min-Lsn: namespace "${namespace.name}" is ttl_only and follows no positions`);
}

function parseMinLsn(fields: readonly string[]): Target {
  const [, epoch, lsn] = MIN_LSN.exec(fields.join(',').trim()) ?? [];
  try {
    return { epoch: epoch === undefined ? undefined : Number(epoch), lsn: parseLsn(lsn ?? '') };
  } catch {
    throw new FieldError('Tidemark-Min-Lsn: expected an LSN such as 16/B374D848, or epoch:LSN');
  }
}

function parseToken(fields: readonly string[]): SessionToken {
  try {
    return parseSession(fields.join(','));
  } catch (error) {
    throw new FieldError(`Tidemark-Session: ${(error as Error).message}`);
  }
}
