import { parseKeyPattern, parseLsn, parseTemplate, WHOLE_KEY, type Lsn, type SqlLoaderConfig } from '@tidemark/proto';
import { Backoff, TimeLimit } from '@tidemark/runtime';
import { fill, type Origin, type OriginRequest } from '../core/load-origins.ts';
import type { Loaded } from '../core/ports.ts';
import { whyForeign, type ServerIdentity } from '../core/server-identity.ts';
import { SqlError, type SqlConnection, type SqlPool, type SqlRows } from '../core/sql.ts';
import { columnsOf, contentTypeOf, describing, isBytes, reading, type SqlShape } from '../core/sql-shape.ts';
import { tagsOf } from '../core/value-tags.ts';

/** Room for the tags of many rows, beside their values. */
const TAG_ROOM_BYTES = 256 * 1024;
const BEHIND_FIRST_MS = 2;
const BEHIND_MAX_MS = 50;
/** Syntax errors, unknown columns and the like: so it is when the statement has another shape than before. */
const SYNTAX = /^42/;

/**
 * Begins a read whose bounds are known, and asks where the server stands before it. An own transaction, so that all of it happens on
 * one server even behind a pooler, whatever its defaults are: `read committed`, because the snapshot of the read must be younger than
 * the position; text forms as the publisher has them, because tags must be what rules make of a column.
 *
 * The position: on a standby everything up to it has been replayed, so the read sees it (asked in the statement before, SPEC I5); on a
 * primary the lease bounds it. The timeline of a standby is the newest that it is known to have reached: pg_control_* tell it late, the
 * WAL receiver at once, but only to roles that may read pg_stat_wal_receiver (pg_read_all_stats).
 */
const begin = (leftMs: number, mark: string): string => `begin isolation level read committed read only;
select set_config('statement_timeout', '${leftMs}', true), set_config('timezone', 'UTC', true),
       set_config('datestyle', 'ISO, MDY', true), set_config('intervalstyle', 'postgres', true),
       set_config('bytea_output', 'hex', true), set_config('extra_float_digits', '1', true),
       pg_last_wal_replay_lsn(),
       case when pg_is_in_recovery() then
         greatest((select timeline_id from pg_control_checkpoint()),
                  (select min_recovery_end_timeline from pg_control_recovery()),
                  (select received_tli from pg_stat_wal_receiver))
       else ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int end,
       pg_postmaster_start_time(),
       case when pg_postmaster_start_time()::text <> '${mark}' then (select system_identifier from pg_control_system()) end,
       pg_is_in_recovery()`;

/**
 * No change that the read shows was committed later. On a standby replay may be in the middle of a record, whose end
 * pg_last_wal_replay_lsn() tells only afterwards; what was received ends at or after it.
 */
const END = `
select case when pg_is_in_recovery()
       then case when pg_last_wal_receive_lsn() >= pg_last_wal_replay_lsn() then pg_last_wal_receive_lsn() end
       else pg_current_wal_insert_lsn() end, pg_is_in_recovery();
commit`;

/** Where the server stood when a value was read. */
interface Bounds {
  readonly server: ServerIdentity;
  readonly sourceLsn: Lsn | undefined;
  readonly loadedAt: Lsn | undefined;
}

/** Loads values by a statement of the configuration. */
export class SqlLoader implements Origin {
  readonly #config: SqlLoaderConfig;
  readonly #pool: SqlPool;
  readonly #maxBytes: number;
  readonly #timeoutMs: number;
  readonly #followed: (() => ServerIdentity) | undefined;
  readonly #params;
  readonly #tags;
  readonly #tagColumns: readonly string[];
  #shape: SqlShape | undefined;
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
    const { config } = options;
    this.#config = config;
    this.#pool = options.pool;
    this.#timeoutMs = options.timeoutMs;
    this.#maxBytes = options.maxBytes;
    this.#followed = options.followed;
    this.#params = config.params.map(parseTemplate);
    this.#tags = config.tags.map(parseTemplate);
    this.#tagColumns = columnsOf(this.#tags, [WHOLE_KEY, ...parseKeyPattern(config.key).names]);
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
      // What is no value of the column's type is in no row.
      if (error.isWrongValue) return { kind: 'absent' };
      const code = error.code === undefined ? '' : ` (SQLSTATE ${error.code})`;
      return { kind: 'failed', why: error.why, detail: `${error.message}${code}` };
    }
  }

  async #read(connection: SqlConnection, request: OriginRequest): Promise<Loaded> {
    const known = this.#shape;
    const shape = known ?? (await this.#describe(connection));
    try {
      return await this.#readShape(connection, request, shape);
    } catch (error) {
      if (known === undefined || !(error instanceof SqlError) || !SYNTAX.test(error.code ?? '')) throw error;
      // A table of it was altered.
      return this.#readShape(connection, request, await this.#describe(connection));
    }
  }

  async #describe(connection: SqlConnection): Promise<SqlShape> {
    const values = this.#params.map(() => null);
    const { columns } = await connection.send({ text: describing(this.#config.sql), values });
    const [first, ...others] = columns;
    if (first === undefined) throw new SqlError('error', 'found a statement without columns', { sent: true });
    this.#shape = others.length === 0 ? { kind: 'column', type: first.type } : { kind: 'columns' };
    return this.#shape;
  }

  async #readShape(connection: SqlConnection, { values }: OriginRequest, shape: SqlShape): Promise<Loaded> {
    const options = { shape, tagColumns: this.#tagColumns, maxBytes: this.#maxBytes };
    // All at once: one round trip.
    const sent = await Promise.allSettled([
      connection.send({ text: begin(connection.leftMs(), this.#system?.mark ?? '') }),
      connection.send({
        text: reading(this.#config, options),
        values: this.#params.map((template) => fill(template, values)),
        maxBytes: 2 * this.#maxBytes + TAG_ROOM_BYTES,
      }),
      connection.send({ text: END }),
    ]);
    const failed = sent.find((each) => each.status === 'rejected');
    if (failed !== undefined) {
      // END stops at its first statement then.
      await connection.send({ text: 'rollback' });
      throw failed.reason;
    }
    const [before, rows, after] = sent.map((each) => (each as PromiseFulfilledResult<SqlRows>).value);
    const bounds = this.#boundsOf(before as SqlRows, after as SqlRows);
    if (this.#followed !== undefined) {
      const why = whyForeign(bounds.server, this.#followed());
      if (why !== undefined) {
        connection.discard();
        return { kind: 'failed', why: 'unavailable', detail: `TIDEMARK_LOAD_URL leads to the wrong server: ${why}` };
      }
    }
    return this.#valueOf(rows as SqlRows, { shape, bounds, values });
  }

  #boundsOf(before: SqlRows, after: SqlRows): Bounds {
    const [replayed, timeline, mark, system, wasStandby] = before.rows[0]?.slice(6) ?? [];
    const [end, isStandby] = after.rows[0] ?? [];
    if (wasStandby !== isStandby)
      throw new SqlError('unavailable', 'the standby was promoted during the load', { sent: true });
    if (system !== null && system !== undefined) this.#system = { mark: mark ?? '', id: BigInt(system) };
    return {
      server: {
        systemId: this.#system?.mark === mark ? this.#system?.id : undefined,
        timeline: timeline === null ? undefined : Number(timeline),
      },
      sourceLsn: isStandby === 't' ? lsnOf(replayed) : undefined,
      loadedAt: lsnOf(end),
    };
  }

  #valueOf(
    { rows }: SqlRows,
    of: { readonly shape: SqlShape; readonly bounds: Bounds; readonly values: OriginRequest['values'] },
  ): Loaded {
    const { shape, bounds, values } = of;
    const { rows: count, contentType = contentTypeOf(shape, count) } = this.#config;
    const { sourceLsn, loadedAt } = bounds;
    if (count === 'one' && rows.length > 1)
      return { kind: 'failed', why: 'error', detail: 'found two rows or more, expected one (or say rows: many)' };
    if (rows.some(([value, length]) => value === null && length !== null)) return this.#tooLarge();
    const [only] = rows;
    // A NULL says no more than no row.
    if (count === 'one' && (only === undefined || only[0] === null)) return { kind: 'absent', sourceLsn, loadedAt };
    const texts = rows.map(([value]) => value ?? '');
    const text = count === 'many' ? `[${texts.join(',')}]` : (texts[0] ?? '');
    const body = Buffer.from(text, count === 'one' && isBytes(shape) ? 'hex' : 'utf8');
    if (body.length > this.#maxBytes) return this.#tooLarge();
    const rendered = tagsOf(
      this.#tags,
      rows.length === 0
        ? [values]
        : rows.map(
            (row) => new Map([...values, ...this.#tagColumns.map((name, i) => [name, row[i + 2] ?? ''] as const)]),
          ),
    );
    if (!rendered.ok) return { kind: 'failed', why: 'error', detail: rendered.detail };
    return { kind: 'value', body, contentType, tags: rendered.tags, sourceLsn, loadedAt };
  }

  #tooLarge(): Loaded {
    const detail = `the value is larger than ${this.#maxBytes} bytes (maxItemBytes)`;
    return { kind: 'failed', why: 'too-large', detail };
  }
}

function lsnOf(text: string | null | undefined): Lsn | undefined {
  return text === null || text === undefined ? undefined : parseLsn(text);
}
