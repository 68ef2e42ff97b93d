import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { duration } from '@tidemark/runtime';
import type { Client } from 'pg';
import {
  backendFacts,
  lockHolder,
  openForCommand,
  serverFacts,
  terminateBackend,
  tryLock,
} from './adapters/postgres-session.ts';
import { dropPublication, dropSlot, lookAtSlot } from './adapters/postgres-slot.ts';
import { dropSlotConfig, environmentHelp } from './config.ts';
import { OperatorError } from './core/errors.ts';

const HELP = `Usage: tidemark drop-slot [--yes] [--wait DURATION] [--terminate] [--keep-publication]

Drops what tidemark run has made in Postgres for a source: the replication slot, for which Postgres keeps WAL until its disk
is full, and the publication. For the end of an installation; an invalidator that still runs would make both anew, with a
new epoch that empties every cache. Where there is nothing to drop, all is well.

  --yes               does it without being asked at a terminal
  --wait DURATION     how long to wait for an invalidator to end (default: 60s)
  --terminate         ends the connections of whoever uses the slot instead of waiting
  --keep-publication  leaves the publication, such as one that was made by hand

It ends with 0 when the slot is gone, 1 when it is not, 2 when nothing was done because nobody said --yes.
`;

const CONNECT_MS = 10_000;
const QUERY_MS = 30_000;
const POLL_MS = 250;
const TELL_MS = 10_000;

interface Options {
  readonly isAgreed: boolean;
  readonly waitMs: number;
  readonly terminates: boolean;
  readonly keepsPublication: boolean;
}

/** `drop-slot`: resolves to the exit code. Rejects when a person has to mend something first. */
export async function dropSlotCommand(args: readonly string[]): Promise<number> {
  const options = optionsIn(args);
  if (options === undefined) {
    process.stdout.write(`${HELP}\nEnvironment:\n${environmentHelp('drop-slot')}\n`);
    return 0;
  }
  const { slot, publication, postgresUrl } = dropSlotConfig(process.env);
  if (!options.isAgreed) {
    say(`This would drop the slot ${slot} and the publication ${publication}. Say --yes to do it.`);
    return 2;
  }
  const client = await openForCommand({
    connectionString: postgresUrl,
    application_name: 'tidemark drop-slot',
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: QUERY_MS,
  });
  try {
    const { version, inRecovery } = await serverFacts(client);
    if (inRecovery)
      throw new OperatorError(
        'the server is a standby, expected the primary: what is dropped there goes from its standbys too',
      );
    await untilUnused({ client, slot, version, options });
    const { facts } = await lookAtSlot(client, slot, version);
    if (facts.state === 'missing') say(`There is no slot ${slot}.`);
    else {
      await dropSlot(client, slot);
      say(`Dropped the slot ${slot}: Postgres keeps no more WAL for it.`);
    }
    if (!options.keepsPublication) await withoutPublication(client, publication);
    return 0;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Resolves once nobody uses the slot, and keeps every invalidator from it as long as the connection lasts. */
async function untilUnused(parts: { client: Client; slot: string; version: number; options: Options }): Promise<void> {
  const { client, slot, version, options } = parts;
  const startMs = performance.now();
  let toldAtMs = Number.NEGATIVE_INFINITY;
  let isLocked = false;
  for (;;) {
    isLocked ||= await tryLock(client, slot);
    const { activePid } = await lookAtSlot(client, slot, version);
    if (isLocked && activePid === undefined) return;
    const pid = activePid ?? (await lockHolder(client, slot));
    if (pid !== undefined) {
      const who = await backendFacts(client, pid);
      if (options.terminates) await terminateBackend(client, pid);
      else if (performance.now() - startMs > options.waitMs) {
        throw new OperatorError(
          `the slot ${slot} is still used by ${who}: stop the invalidator first (kubectl scale deployment …-invalidator --replicas 0), or say --terminate`,
        );
      } else if (performance.now() - toldAtMs > TELL_MS) {
        toldAtMs = performance.now();
        say(`Waiting for ${who}, which uses the slot ${slot}.`);
      }
    }
    if (performance.now() - startMs > options.waitMs + TELL_MS)
      throw new OperatorError(`the slot ${slot} is taken again and again: stop the invalidator first`);
    await sleep(POLL_MS);
  }
}

/** A publication holds nothing back, so that one which belongs to somebody else is no failure. */
async function withoutPublication(client: Client, publication: string): Promise<void> {
  try {
    say(
      (await dropPublication(client, publication))
        ? `Dropped the publication ${publication}.`
        : `There is no publication ${publication}.`,
    );
  } catch (error) {
    say(`The publication ${publication} stays, which does no harm: ${(error as Error).message}`);
  }
}

function optionsIn(args: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      yes: { type: 'boolean', default: false },
      wait: { type: 'string', default: '60s' },
      terminate: { type: 'boolean', default: false },
      'keep-publication': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  return {
    // Only a person at a terminal can have mistaken the database.
    isAgreed: values.yes || !process.stdin.isTTY,
    waitMs: waitOf(values.wait),
    terminates: values.terminate,
    keepsPublication: values['keep-publication'],
  };
}

function waitOf(found: string): number {
  try {
    return duration({ min: '0s', max: '1h' })(found);
  } catch (error) {
    throw new OperatorError(`--wait: found "${found}", ${(error as Error).message}`);
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
