import { parseLsn, type Lsn, type SqlLoaderConfig } from '@tidemark/proto';
import { Backoff, TimeLimit } from '@tidemark/runtime';
import type { Origin, OriginRequest } from '../core/origin.ts';
import type { Loaded } from '../core/ports.ts';
import { whyForeign, type ServerIdentity } from '../core/server-identity.ts';
import { SqlRead } from '../core/sql-read.ts';
import { isPlanGone, SqlError, type SqlConnection, type SqlPool, type SqlRows } from '../core/sql.ts';

const BEHIND_FIRST_MS = 2;
const BEHIND_MAX_MS = 50;
/**
 * Syntax errors, unknown columns and the like, or a plan of another result (0A000): so it is when the statement has another shape than
 * before.
 */
const RESHAPED = /^(?:42...|0A000)$/;

/**
 * A transaction of its own, so that all of it happens on one server even behind a pooler, whatever its defaults are. `read committed`, because
 * the snapshot of the read must be younger than the position.
 */
const BEGIN = 'begin isolation level read committed read only';

/**
 * Where the server stands before the read: on a standby everything up to there has been replayed, so a statement behind this one sees it (SPEC
 * I5); on a primary the lease bounds the read. The timeline of a standby is the newest that it is known to have reached: pg_control_*
 * tell it late, the WAL receiver at once, but only to roles that may read pg_stat_wal_receiver (pg_read_all_stats).
 *
 * Text forms are those of the publisher, because tags must be what rules make of a column.
 */
const BEFORE = `
select set_config('statement_timeout', $1, true), set_config('timezone', 'UTC', true),
       set_config('datestyle', 'ISO, MDY', true), set_config('intervalstyle', 'postgres', true),
       set_config('bytea_output', 'hex', true), set_config('extra_float_digits', '1', true),
       pg_last_wal_replay_lsn(),
       case when pg_is_in_recovery() then
         greatest((select timeline_id from pg_control_checkpoint()),
                  (select min_recovery_end_timeline from pg_control_recovery()),
                  (select received_tli from pg_stat_wal_receiver))
       else ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int end,
       extract(epoch from pg_postmaster_start_time())::text,
       case when extract(epoch from pg_postmaster_start_time())::text <> $2 then (select system_identifier from pg_control_system()) end,
       pg_is_in_recovery()`;

/**
 * No change that the read shows was committed later. On a standby replay may be in the middle of a record, whose end
 * pg_last_wal_replay_lsn() tells only afterwards; what was received ends at or after it.
 */
const AFTER = `
select case when pg_is_in_recovery()
       then case when pg_last_wal_receive_lsn() >= pg_last_wal_replay_lsn() then pg_last_wal_receive_lsn() end
       else pg_current_wal_insert_lsn() end, pg_is_in_recovery()`;

/** How many columns of {@link BEFORE} only set something. */
const SETTINGS = 6;

/** Which server it was, and where it stood before the read. */
interface Server extends ServerIdentity {
  readonly isStandby: string | null | undefined;
  readonly sourceLsn: Lsn | undefined;
}

/** Loads values by a statement of the configuration. */
export class SqlLoader implements Origin {
  readonly #statement: SqlRead;
  readonly #pool: SqlPool;
  readonly #timeoutMs: number;
  readonly #followed: (() => ServerIdentity) | undefined;
  /** Of the server that was asked last, by when it was started. */
  #system: { readonly mark: string; readonly id: bigint } | undefined;

  /**
   * @param options.timeoutMs for each load as a whole
   * @param options.maxBytes of a value
   * @param options.followed the server that the stream comes from; undefined where the namespace is not coherent
   */
  constructor(options: {
    config: SqlLoaderConfig;
    pool: SqlPool;
    timeoutMs: number;
    maxBytes: number;
    followed: (() => ServerIdentity) | undefined;
  }) {
    this.#pool = options.pool;
    this.#timeoutMs = options.timeoutMs;
    this.#followed = options.followed;
    const { config, maxBytes } = options;
    this.#statement = new SqlRead({ config, maxBytes, bytesOf: (text, encoding) => Buffer.from(text, encoding) });
  }

  async load(request: OriginRequest): Promise<Loaded> {
    const limit = new TimeLimit({ timeoutMs: this.#timeoutMs });
    const behind = new Backoff({ firstMs: BEHIND_FIRST_MS, maxMs: BEHIND_MAX_MS });
    try {
      for (;;) {
        const timeoutMs = Math.max(1, limit.leftMs());
        const loaded = await this.#pool.use((connection) => this.#read(connection, request), { timeoutMs });
        const { atLeast = 0 } = request;
        if (loaded.kind === 'failed' || (loaded.sourceLsn ?? atLeast) >= atLeast) return loaded;
        if (limit.leftMs() <= BEHIND_MAX_MS) {
          const detail = `the standby is behind the change that the value must show, still after ${this.#timeoutMs} ms`;
          return { kind: 'failed', why: 'timeout', detail };
        }
        await behind.pause();
      }
    } catch (error) {
      if (!(error instanceof SqlError)) throw error;
      const code = error.code === undefined ? '' : ` (SQLSTATE ${error.code})`;
      return { kind: 'failed', why: error.why, detail: `${error.message}${code}` };
    }
  }

  async #read(connection: SqlConnection, request: OriginRequest): Promise<Loaded> {
    const wasDescribed = this.#statement.isDescribed;
    await this.#statement.describe(connection);
    try {
      const loaded = await this.#readWithin(connection, request);
      if (!wasDescribed || loaded.kind !== 'failed' || this.#statement.isDescribed) return loaded;
    } catch (error) {
      if (!(error instanceof SqlError)) throw error;
      if (isPlanGone(error.code)) return this.#readWithin(connection, request);
      if (!wasDescribed || !RESHAPED.test(error.code ?? '')) throw error;
      this.#statement.forget();
    }
    // A table of it was altered.
    await this.#statement.describe(connection);
    return this.#readWithin(connection, request);
  }

  async #readWithin(connection: SqlConnection, request: OriginRequest): Promise<Loaded> {
    const { values } = request;
    const settings = [`${connection.leftMs()}`, this.#system?.mark ?? ''];
    // All at once: one round trip. Where one of them fails, those behind it do, and COMMIT rolls back.
    const [begun, before, rows, after, committed] = await Promise.allSettled([
      connection.send({ text: BEGIN }),
      connection.send({ text: BEFORE, values: settings, again: true }),
      connection.send({ ...this.#statement.statement(values), again: true }),
      connection.send({ text: AFTER, values: [], again: true }),
      connection.send({ text: 'commit' }),
    ]);
    if (begun.status === 'rejected') throw begun.reason;
    if (before.status === 'rejected') throw before.reason;
    const server = this.#serverOf(before.value);
    const why = this.#whyForeign(server, request);
    if (why !== undefined) {
      connection.discard();
      return { kind: 'failed', why: 'unavailable', detail: `TIDEMARK_LOAD_URL leads to the wrong server: ${why}` };
    }
    const { sourceLsn } = server;
    if (rows.status === 'rejected') {
      // What is no value of the column's type is in no row.
      if (rows.reason instanceof SqlError && rows.reason.isWrongValue) return { kind: 'absent', sourceLsn };
      throw rows.reason;
    }
    if (after.status === 'rejected') throw after.reason;
    if (committed.status === 'rejected') throw committed.reason;
    const [loadedAt, isStandby] = after.value.rows[0] ?? [];
    if (isStandby !== server.isStandby)
      throw new SqlError('unavailable', 'the standby was promoted during the load', { sent: true });
    const found = this.#statement.found(rows.value, values);
    return found.kind === 'failed' ? found : { ...found, sourceLsn, loadedAt: lsnOf(loadedAt) };
  }

  #whyForeign(server: Server, { isPassed = false }: OriginRequest): string | undefined {
    const followed = this.#followed?.();
    if (followed === undefined || (isPassed && followed.systemId === undefined)) return undefined;
    return whyForeign(server, followed);
  }

  #serverOf({ rows }: SqlRows): Server {
    const [replayed, timeline, mark, system, isStandby] = rows[0]?.slice(SETTINGS) ?? [];
    if (typeof system === 'string') this.#system = { mark: mark ?? '', id: BigInt(system) };
    return {
      systemId: this.#system?.mark === mark ? this.#system?.id : undefined,
      timeline: typeof timeline === 'string' ? Number(timeline) : undefined,
      isStandby,
      // Of a standby that does not say, nothing is taken.
      sourceLsn: isStandby === 't' ? (lsnOf(replayed) ?? 0) : undefined,
    };
  }
}

function lsnOf(text: string | null | undefined): Lsn | undefined {
  return text === null || text === undefined ? undefined : parseLsn(text);
}
