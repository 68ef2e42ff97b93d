import { setTimeout as wait } from 'node:timers/promises';
import { KitError } from './error.ts';
import { Forwarder } from './forwarder.ts';
import type { ProcessHandle } from './handle.ts';
import { withPostgres } from './names.ts';
import { STANDBY, ask, copyAsStandby, versionOf } from './postgres-standby.ts';
import { type LocalPostgres, type PostgresOptions, type PostgresServer, startLocalPostgres } from './postgres.ts';

export interface PostgresPairOptions extends PostgresOptions {
  /**
   * Whether the primary sends a failover slot nothing that the standby does not have (`synchronized_standby_slots`, default
   * true). Without it a promotion can lose commits that were announced already.
   */
  readonly standbyFirst?: boolean;
}

/** How a promotion treats the primary so far. */
export interface PromotionOptions {
  /**
   * `kill` (default): SIGKILL; what the standby does not have yet is lost. `stop`: shut down in good order, so that
   * nothing is lost unless replication is cut. `leave`: it lives on behind the promoted one's back.
   */
  readonly oldPrimary?: 'kill' | 'stop' | 'leave';
}

/**
 * A primary and a streaming standby with synced failover slots. As a {@link ProcessHandle} it stands for whoever is the
 * primary, under one address that moves with the promotion: give it to `startStack({ servers: { started: { postgres: pair } } })`.
 */
export interface PostgresPair extends ProcessHandle {
  /** URL (database `postgres`) of whoever is the primary. */
  readonly url: string;
  readonly port: number;
  /** The servers at their own addresses. */
  readonly primary: PostgresServer;
  readonly standby: PostgresServer | undefined;
  /** Nothing more reaches the standby, until `healReplication`. What is committed meanwhile is lost by a promotion. */
  cutReplication(): void;
  healReplication(): void;
  /** Waits until the standby has replayed everything that the primary has written by now. */
  caughtUp(): Promise<void>;
  /** Waits until the standby has a copy of the slot that will survive a promotion (Postgres 17 and later). */
  slotSynced(slot: string): Promise<void>;
  /** Promotes the standby and leads the address to it. The old primary does not come back; there is no standby then. */
  promote(options?: PromotionOptions): Promise<void>;
  /** Makes a standby of the primary, where there is none. */
  addStandby(): Promise<void>;
}

const WAIT_MS = 120_000;

const flags = {
  hot_standby: 'on',
  // A standby whose connection was cut tries again at once.
  wal_retrieve_retry_interval: '100ms',
};

export async function startPostgresPair(options: PostgresPairOptions = {}): Promise<PostgresPair> {
  const own = { ...options, flags: { ...flags, ...options.flags } };
  const primary = await startLocalPostgres(own);
  const address = await Forwarder.start(primary.port);
  const pair = new Pair(own, primary, address);
  try {
    await pair.addStandby();
    return pair;
  } catch (error) {
    await pair.stop();
    throw error;
  }
}

class Pair implements PostgresPair {
  readonly owned = true;
  readonly #options: PostgresPairOptions;
  readonly #address: Forwarder;
  /** Those that were primaries before; they stay until the end, for their logs and for who is left alive. */
  readonly #former: LocalPostgres[] = [];
  #primary: LocalPostgres;
  #standby: LocalPostgres | undefined;
  /** Between standby and primary. */
  #link: Forwarder | undefined;

  constructor(options: PostgresPairOptions, primary: LocalPostgres, address: Forwarder) {
    this.#options = options;
    this.#primary = primary;
    this.#address = address;
  }

  get url(): string {
    return at(this.#primary.url, this.port);
  }

  get port(): number {
    return this.#address.port;
  }

  get primary(): PostgresServer {
    return this.#primary;
  }

  get standby(): PostgresServer | undefined {
    return this.#standby;
  }

  cutReplication(): void {
    this.#link?.cut();
  }

  healReplication(): void {
    this.#link?.heal();
  }

  async caughtUp(): Promise<void> {
    const [row] = await withPostgres(this.#primary.url, async (client) => {
      // A commit sends off what was written; no standby is waited for.
      await client.query("set synchronous_commit = local; select pg_logical_emit_message(true, 'kit', '')");
      return (await client.query<{ lsn: string }>('select pg_current_wal_flush_lsn()::text as lsn')).rows;
    });
    await this.#until('the standby does not catch up', async () => {
      const [standby] = await ask<{ done: boolean }>(
        this.#someStandby().url,
        `select pg_last_wal_replay_lsn() >= '${row?.lsn}' as done`,
      );
      return standby?.done === true;
    });
  }

  async slotSynced(slot: string): Promise<void> {
    await this.#until(`slot ${slot} is not synced to the standby`, async () => {
      // Decoding can only begin at such a record; by itself the server writes one every 15 s.
      await ask(this.#primary.url, 'select pg_log_standby_snapshot()');
      // The worker that copies slots naps for up to 30 s; this wakes it.
      await ask(this.#someStandby().url, 'select pg_reload_conf()');
      // A signal wakes the worker, which would sleep for up to 30 s.
      await ask(this.#someStandby().url, 'select pg_reload_conf()');
      const rows = await ask(
        this.#someStandby().url,
        `select from pg_replication_slots where slot_name = '${slot}' and synced and not temporary and invalidation_reason is null`,
      );
      return rows.length > 0;
    });
  }

  async promote({ oldPrimary = 'kill' }: PromotionOptions = {}): Promise<void> {
    const standby = this.#someStandby();
    const old = this.#primary;
    old.hold();
    if (oldPrimary !== 'leave') this.#address.cut();
    if (oldPrimary !== 'leave' && old.pid !== undefined) await old.kill(oldPrimary === 'kill' ? 'SIGKILL' : 'SIGINT');
    this.#link?.cut();
    await ask(standby.url, `select pg_promote(true, ${WAIT_MS / 1000})`);
    await this.#until('the standby was not promoted', async () => {
      const [row] = await ask<{ waits: boolean }>(standby.url, 'select pg_is_in_recovery() as waits');
      return row?.waits === false;
    });
    this.#former.push(old);
    this.#primary = standby;
    this.#standby = undefined;
    await this.#link?.stop();
    this.#link = undefined;
    this.#address.moveTo(standby.port);
    this.#address.heal();
  }

  async addStandby(): Promise<void> {
    if (this.#standby !== undefined) throw new KitError('there is a standby already.');
    const primary = this.#primary;
    const link = await Forwarder.start(primary.port);
    this.#link = link;
    await ask(primary.url, `select pg_create_physical_replication_slot('${STANDBY}', true)`);
    this.#standby = await startLocalPostgres(this.#options, (data, installation) =>
      copyAsStandby({ primary, data, installation, port: link.port }),
    );
    if (this.#options.standbyFirst !== false && (await versionOf(primary.url)) >= 170_000) {
      await ask(primary.url, `alter system set synchronized_standby_slots = '${STANDBY}'`);
      await ask(primary.url, 'select pg_reload_conf()');
    }
    await this.caughtUp();
  }

  #someStandby(): LocalPostgres {
    if (this.#standby === undefined) throw new KitError('there is no standby.');
    return this.#standby;
  }

  async #until(otherwise: string, check: () => Promise<boolean>): Promise<void> {
    const endMs = Date.now() + WAIT_MS;
    while (!(await check())) {
      if (Date.now() > endMs) throw new KitError(`${otherwise} within ${WAIT_MS / 1000} s.`);
      await wait(50);
    }
  }

  // As a process it is whoever is the primary.

  get name(): string {
    return this.#primary.name;
  }

  get pid(): number | undefined {
    return this.#primary.pid;
  }

  get starts(): number {
    return this.#primary.starts;
  }

  get exits() {
    return this.#primary.exits;
  }

  kill(signal?: NodeJS.Signals) {
    return this.#primary.kill(signal);
  }

  pause(): void {
    this.#primary.pause();
  }

  resume(): void {
    this.#primary.resume();
  }

  start(): Promise<void> {
    return this.#primary.start();
  }

  restart(signal?: NodeJS.Signals): Promise<void> {
    return this.#primary.restart(signal);
  }

  hold(): void {
    this.#primary.hold();
  }

  release(): Promise<void> {
    return this.#primary.release();
  }

  ready(): Promise<void> {
    return this.#primary.ready();
  }

  logs(count?: number): string[] {
    return this.#primary.logs(count);
  }

  async stop(): Promise<void> {
    this.#link?.cut(); // else the primary's shutdown would wait for a standby that may be paused
    const servers = [this.#primary, ...(this.#standby === undefined ? [] : [this.#standby]), ...this.#former];
    await Promise.all(servers.map((server) => server.stop()));
    await this.#link?.stop();
    await this.#address.stop();
  }
}

function at(url: string, port: number): string {
  const moved = new URL(url);
  moved.port = `${port}`;
  return moved.href;
}
