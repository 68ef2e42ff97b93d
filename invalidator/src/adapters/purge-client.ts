import { parseLsn, type Lsn, type PurgeRequest } from '@tidemark/proto';
import { Backoff } from '@tidemark/runtime';
import { OperatorError } from '../core/errors.ts';

/** An attempt that is not answered within this time, ms, has failed. */
const ATTEMPT_MS = 15_000;
/** An invalidator that is away for longer ends the replay, ms. */
const AWAY_MS = 60_000;

/** Writes purges into the WAL through an invalidator (`run`). */
export interface PurgeClient {
  /** Resolves to a position at or behind the purge; done twice it does no harm. Rejects when the invalidator stays away. */
  purge(request: PurgeRequest): Promise<Lsn>;
}

export function purgeClient(url: string, signal: AbortSignal): PurgeClient {
  const target = new URL('v1/purge', url.endsWith('/') ? url : `${url}/`);
  const attempt = async (body: string): Promise<Lsn | string> => {
    try {
      const response = await fetch(target, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
        signal: AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_MS)]),
      });
      const text = await response.text();
      if (response.status === 200) return parseLsn((JSON.parse(text) as { lsn: string }).lsn);
      if (response.status < 500) throw new OperatorError(`${target.href} answered ${response.status}: ${text}`);
      return `it answered ${response.status}`;
    } catch (error) {
      if (error instanceof OperatorError || signal.aborted) throw error;
      const { cause, message } = error as Error;
      return cause instanceof Error ? cause.message : message;
    }
  };
  return {
    async purge(request) {
      const body = JSON.stringify(request);
      const backoff = new Backoff({ firstMs: 100, maxMs: 5_000 });
      const startedAt = performance.now();
      for (;;) {
        const answer = await attempt(body);
        if (typeof answer === 'number') return answer;
        if (performance.now() - startedAt > AWAY_MS)
          throw new OperatorError(`${target.href} takes no purges (${answer}): is an invalidator running there?`);
        await backoff.pause(signal);
      }
    },
  };
}
