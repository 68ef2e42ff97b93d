import { randomUUID } from 'node:crypto';
import type { Logger } from '@tidemark/runtime';
import { openKubeClient } from '../adapters/kube-client.ts';
import { openKubeLease } from '../adapters/kube-lease.ts';
import { systemClock } from '../adapters/system.ts';
import type { ElectionConfig } from '../config.ts';
import { leadByLease, type Leadership } from '../core/leader-loop.ts';
import type { RunMetrics } from './metrics.ts';

/** Failures of the same kind are told again after this time, ms. */
const REPEAT_MS = 30_000;

/**
 * Takes part in the election until it is stopped, and leads when it is this process' turn. Rejects when the API server cannot be
 * found at all, and with what `lead` rejects with.
 */
export async function takeTurns(options: {
  readonly election: ElectionConfig;
  readonly kubeconfig: string | undefined;
  readonly instance: string;
  readonly logger: Logger;
  readonly metrics: RunMetrics;
  readonly onFollowing: (holder: string) => void;
  /** The lease could not be read or written; told each time. */
  readonly onBlind: (message: string) => void;
  readonly lead: (leadership: Leadership, stop: AbortSignal) => Promise<void>;
  readonly stop: AbortSignal;
}): Promise<void> {
  const { election, instance, logger, metrics, onFollowing, onBlind, lead, stop } = options;
  const { lease: name, times } = election;
  const client = await openKubeClient(options.kubeconfig);
  const namespace = election.namespace ?? client.namespace;
  // As client-go does: half of what the leader has, so that a second attempt is in time.
  const api = client.api(client.library.CoordinationV1Api, times.renewDeadlineMs / 2);
  const store = openKubeLease({ api, watch: new client.library.Watch(client.config), namespace, name });
  const lease = `${namespace}/${name}`;
  let toldAtMs = Number.NEGATIVE_INFINITY;
  await leadByLease({
    // A process that starts again under the same name has lost what it knew, and is another candidate.
    identity: `${instance}_${randomUUID()}`,
    times,
    store,
    clock: systemClock,
    random: Math.random,
    events: {
      onLeading(term) {
        metrics.leading(term);
        logger.info({ lease, term }, 'leading');
      },
      onFollowing(holder) {
        metrics.leading(undefined);
        logger.info({ lease, holder }, 'standing by');
        onFollowing(holder);
      },
      onYield() {
        metrics.leading(undefined);
        logger.warn({ lease }, 'this replica cannot stream: giving the lease away, so that another one can try');
      },
      onSure(isSure) {
        metrics.leaderSure(isSure);
        if (isSure) logger.info({ lease }, 'the lease is renewed again');
        else logger.warn({ lease }, 'the lease could not be renewed in time: going on until somebody else has it');
      },
      onAttempt(outcome, error) {
        metrics.leaseAttempt(outcome);
        if (error !== undefined) onBlind(error.message);
        if (error === undefined || performance.now() - toldAtMs < REPEAT_MS) return;
        toldAtMs = performance.now();
        logger.warn({ err: error, lease }, `the lease could not be read or written: ${error.message}`);
      },
    },
    lead,
    stop,
  });
}
