import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { lockHolder, terminateBackend, tryLock, type ServerFacts } from '../adapters/postgres-session.ts';
import { lookAtSlot } from '../adapters/postgres-slot.ts';
import type { RunContext } from './context.ts';

const POLL_MS = 250;
/** A connection that was ended is gone in a moment. */
const EVICTED_POLL_MS = 20;
/** Head start of whoever has the Lease over a former leader that does not know better yet. */
const UNSURE_PAUSE_MS = 2000;

/**
 * Waits until no other invalidator works on this slot, and keeps others waiting from then on. A leader by Lease does not
 * wait for a former one, which may be paused or cut off for hours, but ends its connections. Rejects when stopped.
 */
export async function waitForTurn(options: {
  context: RunContext;
  client: Client;
  server: ServerFacts;
  stop: AbortSignal;
}): Promise<void> {
  const { context, client, server, stop } = options;
  const { config, leadership, logger, metrics, setState } = context;
  const isElected = config.election !== undefined;
  let told = false;
  /** @param pid the process of Postgres that is in the way */
  const wait = async (reason: string, pid: number | undefined): Promise<void> => {
    const evicts = isElected && pid !== undefined && leadership.isSure();
    if (evicts) {
      logger.warn({ slot: config.slot, pid }, `${reason}: ending its connection, for this process leads now`);
      await terminateBackend(client, pid);
      metrics.evicted();
    } else if (!told) logger.info({ slot: config.slot }, `${reason}: waiting for it`);
    told = true;
    setState('standby', reason);
    await sleep(evicts ? EVICTED_POLL_MS : POLL_MS, undefined, { signal: stop });
  };
  if (isElected && !leadership.isSure()) await sleep(UNSURE_PAUSE_MS, undefined, { signal: stop });
  while (!(await tryLock(client, config.slot)))
    await wait(
      'another invalidator works for this source',
      isElected ? await lockHolder(client, config.slot) : undefined,
    );
  for (;;) {
    // The walsender of one that was killed may outlive it for a moment.
    const { activePid } = await lookAtSlot(client, config.slot, server.version);
    if (activePid === undefined) break;
    await wait(`process ${activePid} of Postgres uses the slot`, activePid);
  }
  if (told) {
    logger.info({ slot: config.slot }, 'taking over');
    setState('starting', 'taking over');
  }
}
