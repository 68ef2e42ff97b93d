import { setTimeout as sleep } from 'node:timers/promises';
import { decodeBatch, formatLsn, type Lsn } from '@tidemark/proto';
import type { Client } from 'pg';
import { newestRecord } from '../adapters/kafka-log.ts';
import { checkMark, type ServerFacts } from '../adapters/postgres-session.ts';
import {
  allowFailover,
  countUnseen,
  createSlot,
  dropSlot,
  identifyServer,
  lookAtSlot,
  openTransactions,
  type NewSlot,
} from '../adapters/postgres-slot.ts';
import { OperatorError } from '../core/errors.ts';
import { decideStart, EPOCH_REASONS, type EpochReason, type LastRecord, type SlotFacts } from '../core/start.ts';
import type { TimelineHistory } from '../core/timeline.ts';
import type { RunContext } from './context.ts';

/** Where the stream begins. */
export interface Beginning {
  readonly epoch: number;
  readonly systemId: bigint;
  readonly timeline: number;
  readonly from: Lsn;
  readonly visible: Lsn;
  /** Where the slot stands. */
  readonly confirmed: Lsn;
  /** What the record before the first one claimed; undefined for a new slot, which gives no WAL from before it. */
  readonly inherited: { readonly covers: ReadonlySet<bigint>; readonly catalog: ReadonlySet<bigint> } | undefined;
}

/** A beginning, and the server that it was found on. */
export interface FoundBeginning extends Beginning {
  /** Tells connections to this server from those to others. */
  readonly mark: string;
  /** Nobody has heard of the epoch yet. */
  readonly isNewEpoch: boolean;
}

/** How often a wait tells why it lasts, ms. */
const TELL_MS = 10_000;
const POLL_MS = 50;

/**
 * Decides where to begin, and makes a new slot for a new epoch. The caller holds the lock and the slot is not in use.
 * @param options.unusable why the slot is not to be used although it looks sound
 */
export async function findBeginning(options: {
  context: RunContext;
  client: Client;
  server: ServerFacts;
  unusable: string | undefined;
  stop: AbortSignal;
}): Promise<FoundBeginning> {
  const { context, client, server, unusable, stop } = options;
  const { config, logger, metrics, kafka, connection } = context;
  const newest = await newestRecord(kafka, config.topic);
  const last = newest === undefined ? undefined : lastRecordOf(newest, config.source);
  const identity = await identifyServer(connection);
  const { systemId, timeline, history, mark } = identity;
  await checkMark(client, mark);
  const { facts: found, loss, failover } = await lookAtSlot(client, config.slot, server.version);
  const slot: SlotFacts =
    unusable === undefined || found.state === 'missing' ? found : { state: 'lost', why: unusable };
  const decision = decideStart({ last, server: identity, slot, history, nowMs: Date.now() });
  if (decision.kind !== 'new-epoch') {
    const { epoch, from, visible } = decision;
    const positions = { epoch, timeline, from: formatLsn(from), visible: formatLsn(visible) };
    if (decision.kind === 'continue') {
      logger.info(positions, 'continuing the stream');
      metrics.continued();
    } else {
      const switchedAt = formatLsn(decision.switchedAt);
      logger.warn({ ...positions, switchedAt }, 'the server was promoted: taking its slot over, in a new epoch');
      metrics.epoch('promoted');
    }
    if (failover === false) await offerToStandbys(context);
    const confirmed = found.state === 'usable' ? found.confirmed : 0;
    const isNewEpoch = decision.kind === 'take-over';
    return { epoch, systemId, timeline, mark, isNewEpoch, from, visible, confirmed, inherited: claimsOf(newest) };
  }
  const { epoch, reason } = decision;
  logger.warn(
    { epoch, reason, timeline, ...detailsOf({ reason, slot, history, last }) },
    `the stream cannot be continued, beginning a new epoch: ${EPOCH_REASONS[reason]}`,
  );
  metrics.epoch(reason);
  if (slot.state === 'lost') metrics.slotLost(loss ?? 'given_up');
  if (slot.state !== 'missing') await dropSlot(client, config.slot);
  const { start, snapshot } = await makeSlot({ context, client, server, stop });
  await untilSeen({ context, client, snapshot, stop });
  return {
    ...{ epoch, systemId, timeline, mark },
    ...{ from: start, visible: start, confirmed: start, isNewEpoch: true, inherited: undefined },
  };
}

/** What a person needs to see why the epoch ended. */
function detailsOf(options: {
  reason: EpochReason;
  slot: SlotFacts;
  history: TimelineHistory;
  last: LastRecord | 'unreadable' | undefined;
}): Readonly<Record<string, unknown>> {
  const { reason, slot, history, last } = options;
  return {
    ...(typeof last === 'object' && { newest: { timeline: last.timeline, to: formatLsn(last.to) } }),
    ...(slot.state === 'lost' && { slot: slot.why }),
    ...(slot.state === 'usable' && { confirmed: formatLsn(slot.confirmed) }),
    ...('unknown' in history
      ? { history: history.unknown }
      : reason.endsWith('history') || reason === 'commits-lost'
        ? { history: history.map(({ timeline, end }) => `${timeline} until ${formatLsn(end)}`) }
        : {}),
  };
}

/** A slot from an earlier version, or made by hand, ends with its server unless standbys may take it over. */
async function offerToStandbys({ config, connection, logger }: RunContext): Promise<void> {
  try {
    await allowFailover(connection, config.slot);
    logger.info({ slot: config.slot }, 'standbys may take over the slot now');
  } catch (error) {
    logger.warn(
      { err: error, slot: config.slot },
      'standbys cannot take over the slot: after a promotion a new one has to be made',
    );
  }
}

async function makeSlot(options: {
  context: RunContext;
  client: Client;
  server: ServerFacts;
  stop: AbortSignal;
}): Promise<NewSlot> {
  const { context, client, server, stop } = options;
  let backend: number | undefined;
  const tell = setInterval(() => {
    openTransactions(client).then(
      (transactions) =>
        context.logger.warn({ transactions }, 'the slot can be made once these transactions have ended'),
      () => undefined, // the connection's own failure is told elsewhere
    );
  }, TELL_MS);
  // Closing our end would leave the server waiting, and then with a slot that nobody knows.
  const cancel = (): void => void client.query('select pg_terminate_backend($1)', [backend]).catch(() => undefined);
  stop.addEventListener('abort', cancel, { once: true });
  try {
    return await createSlot({
      connection: context.connection,
      slot: context.config.slot,
      failover: server.version >= 170_000,
      onBackend: (pid) => {
        backend = pid;
      },
    });
  } finally {
    clearInterval(tell);
    stop.removeEventListener('abort', cancel);
  }
}

/** Whatever was committed before the slot will never be announced, so a snapshot must see all of it before anybody may rely on it. */
async function untilSeen(options: {
  context: RunContext;
  client: Client;
  snapshot: string;
  stop: AbortSignal;
}): Promise<void> {
  let toldAtMs = performance.now();
  for (;;) {
    const unseen = await countUnseen(options.client, options.snapshot);
    if (unseen === 0) return;
    if (performance.now() - toldAtMs > TELL_MS) {
      toldAtMs = performance.now();
      options.context.logger.warn(
        { transactions: unseen },
        'waiting until transactions that were committed before the slot are visible (synchronous replication?)',
      );
    }
    await sleep(POLL_MS, undefined, { signal: options.stop });
  }
}

function lastRecordOf(bytes: Uint8Array, source: string): LastRecord | 'unreadable' {
  const batch = decodedOrUndefined(bytes);
  if (batch === undefined) return 'unreadable';
  if (batch.source !== source) {
    throw new OperatorError(
      `the topic holds records of source ${batch.source}, expected ${source}: each source needs a topic of its own`,
    );
  }
  const { epoch, to, visible, systemId, timeline } = batch;
  return { epoch, to, visible, systemId, timeline };
}

function claimsOf(bytes: Uint8Array | undefined): NonNullable<Beginning['inherited']> {
  const batch = bytes && decodedOrUndefined(bytes);
  return { covers: new Set(batch?.covers), catalog: new Set(batch?.catalog) };
}

function decodedOrUndefined(bytes: Uint8Array) {
  try {
    const decoded = decodeBatch(bytes);
    return decoded.kind === 'batch' ? decoded.batch : undefined;
  } catch {
    return undefined;
  }
}
