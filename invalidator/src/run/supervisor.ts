import { setTimeout as sleep } from 'node:timers/promises';
import { Backoff } from '@tidemark/runtime';
import { OperatorError, StandbyError } from '../core/errors.ts';
import { RestartPolicy } from '../core/restart.ts';
import type { RunContext } from './context.ts';
import type { RulesFeed } from './rules-feed.ts';
import { Session } from './session.ts';
import { StreamError } from './stream-error.ts';

const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 3000;
/** How often a standby is asked whether it is a primary by now, on a new connection, which may lead elsewhere. */
const STANDBY_MS = 250;
/** The same complaint is told again after this time. */
const REPEAT_MS = 30_000;

/**
 * Runs sessions one after the other until it is stopped. Whatever fails, the next one begins from what Kafka and the slot
 * have; so does one that follows because there are other rules. Rejects with an OperatorError when the first session finds that
 * a person has to mend something first. Where replicas take turns it resolves when sessions have failed for longer than two
 * lease durations: from another node Postgres and Kafka may well be reached.
 */
export async function supervise(options: {
  context: RunContext;
  rules: RulesFeed;
  stop: AbortSignal;
  onReady: () => void;
}): Promise<void> {
  const { context, rules, stop, onReady } = options;
  const { logger, metrics, setState } = context;
  const backoff = new Backoff({ firstMs: FIRST_BACKOFF_MS, maxMs: MAX_BACKOFF_MS });
  const complaints = new Complaints();
  const policy = new RestartPolicy();
  const patienceMs = 2 * (context.config.election?.times.durationMs ?? Number.POSITIVE_INFINITY);
  let everReady = false;
  let isHandedOver = false;
  let failingSinceMs: number | undefined;
  while (!stop.aborted) {
    let isProgressing = false;
    const turn = rules.next();
    const ending = AbortSignal.any([stop, turn.changed]);
    const session = new Session({
      context,
      turn,
      isHandedOver,
      stop: ending,
      unusable: policy.unusable,
      onSlotMade: () => policy.slotMade(),
      onProgress: () => {
        if (isProgressing) return;
        isProgressing = true;
        failingSinceMs = undefined;
        policy.progressed();
        backoff.reset();
        if (!stop.aborted) setState('streaming', '');
        if (!everReady) onReady();
        else logger.info('streaming again');
        everReady = true;
      },
    });
    try {
      isHandedOver = false;
      await session.run();
      isHandedOver = isProgressing;
    } catch (error) {
      if (error instanceof OperatorError && !everReady) throw error;
      const { message } = error as Error;
      if (error instanceof StandbyError) {
        setState('standby', message);
        if (complaints.isNew(message, performance.now())) logger.warn(message);
        await sleep(STANDBY_MS, undefined, { signal: stop }).catch(() => undefined);
        continue;
      }
      metrics.restart(causeOf(error));
      setState(everReady ? 'restarting' : 'starting', message);
      if (complaints.isNew(message, performance.now()))
        logger.error({ err: error }, `the stream failed and is started again: ${message}`);
      policy.failed(error instanceof StreamError ? error.failure : 'passing', message);
      failingSinceMs ??= performance.now();
      if (performance.now() - failingSinceMs > patienceMs) return;
      await backoff.pause(ending);
    }
  }
}

/** A word for metrics. */
function causeOf(error: unknown): string {
  if (error instanceof StreamError) return 'stream';
  if (error instanceof OperatorError) return 'operator';
  const { name, message } = error as Error;
  if (name.startsWith('KafkaJS') || message.includes('Kafka')) return 'kafka';
  return message.includes('silent') ? 'silence' : 'postgres';
}

class Complaints {
  #last = '';
  #atMs = Number.NEGATIVE_INFINITY;

  isNew(message: string, nowMs: number): boolean {
    if (message === this.#last && nowMs - this.#atMs < REPEAT_MS) return false;
    this.#last = message;
    this.#atMs = nowMs;
    return true;
  }
}
