import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { tryLock, type ServerFacts } from '../adapters/postgres-session.ts';
import { lookAtSlot } from '../adapters/postgres-slot.ts';
import type { RunContext } from './context.ts';

const POLL_MS = 250;

/** Waits until no other invalidator works on this slot, and keeps others waiting from then on. Rejects when stopped. */
export async function waitForTurn(options: {
  context: RunContext;
  client: Client;
  server: ServerFacts;
  stop: AbortSignal;
}): Promise<void> {
  const { context, client, server, stop } = options;
  const { config, logger, setState } = context;
  let told = false;
  const wait = async (reason: string): Promise<void> => {
    if (!told) logger.info({ slot: config.slot }, `${reason}: waiting for it`);
    told = true;
    setState('standby', reason);
    await sleep(POLL_MS, undefined, { signal: stop });
  };
  while (!(await tryLock(client, config.slot))) await wait('another invalidator works for this source');
  for (;;) {
    // The walsender of one that was killed may outlive it for a moment.
    const { activePid } = await lookAtSlot(client, config.slot, server.version);
    if (activePid === undefined) break;
    await wait(`process ${activePid} of Postgres uses the slot`);
  }
  if (told) {
    logger.info({ slot: config.slot }, 'taking over');
    setState('starting', 'taking over');
  }
}
