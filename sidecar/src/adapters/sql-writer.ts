import {
  headerOfParam,
  MARK_PREFIX,
  parseKeyPattern,
  parseLsn,
  parseTemplate,
  type KeyPattern,
  type Lsn,
  type WriteThroughConfig,
  type WriteThroughSql,
} from '@tidemark/proto';
import { Backoff, TimeLimit } from '@tidemark/runtime';
import { fill } from '../core/origin.ts';
import type { SqlFound, SqlRead } from '../core/sql-read.ts';
import { SqlError, type SqlConnection, type SqlPool, type SqlRows, type SqlStatement } from '../core/sql.ts';
import { failed, isReadOnly, unknown } from '../core/write-failures.ts';
import type { Executed, Marked, WriteExecutor, WrittenValue } from '../core/write-through.ts';
import type { PutRequest, WriteRequest } from '../core/writer.ts';

/** How often a write is tried that Postgres undid for the sake of others, and how long it waits in between. */
const ATTEMPTS = 4;
const RETRY_FIRST_MS = 5;
const RETRY_MAX_MS = 100;

/**
 * serialization_failure and deadlock_detected (Postgres documentation, chapter 13.5), and plans that are gone behind a pooler (see core/sql.ts):
 * nothing was written, and the same may work at once.
 */
const UNDONE_FOR_OTHERS = /^(?:40001|40P01|26000|42P05)$/;
/** COMMIT was not refused but broke off: connections lost, servers that stop, errors of the machine. The commit may have happened. */
const BROKE_OFF = /^(?:08|57P|58|XX)/;
/** Syntax errors, unknown columns and the like: so it is when a statement has another shape than before. */
const SYNTAX = /^42/;

/** The token in a mark is ours; anything else in it could end the text. */
const SAFE_MARK = /^[A-Za-z0-9:_-]{1,256}$/;

/**
 * Text forms as the publisher has them, because what is read back must be what a loader would find. Nothing may hold the rows for
 * longer than the caller waits.
 */
const begin = (leftMs: number, serverMark: string): string => `begin isolation level read committed read write;
select set_config('statement_timeout', '${leftMs}', true), set_config('idle_in_transaction_session_timeout', '${leftMs}', true),
       set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, MDY', true),
       set_config('intervalstyle', 'postgres', true), set_config('bytea_output', 'hex', true),
       set_config('extra_float_digits', '1', true), pg_postmaster_start_time(),
       case when pg_postmaster_start_time()::text <> '${serverMark}' then (select system_identifier from pg_control_system()) end`;

/** After COMMIT, in a statement of its own: inside the transaction it would be too low. */
const POSITION = `select pg_current_wal_insert_lsn(), ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int`;

/** Performs writes by the statements of the configuration, each with what is read back in one transaction. */
export class SqlWriter implements WriteExecutor {
  readonly headers: readonly string[];
  readonly put?: (request: Marked<PutRequest>) => Promise<Executed>;
  readonly delete?: (request: Marked<WriteRequest>) => Promise<Executed>;
  readonly #pool: SqlPool;
  readonly #timeoutMs: number;
  readonly #pattern: KeyPattern;
  readonly #keep: 'written' | 'nothing' | { readonly loaded: readonly SqlRead[] };
  readonly #systemId: () => bigint | undefined;
  /** Of the server that was asked last, by when it was started. */
  #system: { readonly mark: string; readonly id: bigint } | undefined;

  /**
   * @param options.keep what is under a key after a put: the value as it was sent, what the first of these reads finds that is for the
   *   key, or nobody knows
   * @param options.systemId of the database that the stream comes from: a write to another one would be followed by nobody
   */
  constructor(options: {
    config: WriteThroughConfig;
    pool: SqlPool;
    keep: 'written' | 'nothing' | { readonly loaded: readonly SqlRead[] };
    systemId: () => bigint | undefined;
  }) {
    const { config } = options;
    this.#pool = options.pool;
    this.#timeoutMs = config.timeout;
    this.#pattern = parseKeyPattern(config.key);
    this.#keep = options.keep;
    this.#systemId = options.systemId;
    const steps = [config.put, config.delete].filter((step) => step?.kind === 'sql');
    const named = steps.flatMap(({ params }) => params.map(headerOfParam)).filter((name) => name !== undefined);
    this.headers = [...new Set(named)];
    const { put, delete: remove } = config;
    if (put?.kind === 'sql') {
      const run = this.#step(put);
      this.put = (request) => run({ ...request, put: request });
    }
    if (remove?.kind === 'sql') this.delete = this.#step(remove);
  }

  #step(step: WriteThroughSql): (request: Request) => Promise<Executed> {
    const params = step.params.map(paramOf);
    return async (request) => {
      const parts = this.#pattern.match(request.key);
      if (parts === undefined) {
        const detail = `found a key of another shape, expected ${this.#pattern.text}`;
        return { kind: 'failed', why: 'invalid', detail };
      }
      const values = params.map((param) => param(request, parts));
      if (values.includes(undefined)) {
        const detail = 'found a body that is no UTF-8, expected text (or {bytes} in the configuration)';
        return { kind: 'failed', why: 'invalid', detail };
      }
      return this.#tryAll(request, { text: step.sql, values: values as (string | null)[] });
    };
  }

  async #tryAll(request: Request, write: SqlStatement): Promise<Executed> {
    const limit = new TimeLimit({ timeoutMs: this.#timeoutMs });
    const pauses = new Backoff({ firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS });
    try {
      for (let attempt = 1; ; attempt++) {
        const timeoutMs = Math.max(1, Math.floor(limit.leftMs()));
        const ended = await this.#try(request, write, timeoutMs);
        const isLast = attempt === ATTEMPTS || limit.leftMs() <= RETRY_MAX_MS;
        if (ended.kind !== 'undone') return ended;
        if (isLast) return failed(ended.error);
        await pauses.pause();
      }
    } finally {
      limit.clear();
    }
  }

  async #try(request: Request, write: SqlStatement, timeoutMs: number): Promise<Ended> {
    const progress = { isCommitting: false };
    try {
      const { signal } = request;
      return await this.#pool.use((connection) => this.#transact(connection, request, { write, progress }), {
        timeoutMs,
        signal,
      });
    } catch (error) {
      if (!(error instanceof SqlError)) throw error;
      if (progress.isCommitting) return unknown(error);
      return UNDONE_FOR_OTHERS.test(error.code ?? '') ? { kind: 'undone', error } : failed(error);
    }
  }

  /** Everything up to COMMIT in one round trip, COMMIT in a second one: until that is sent, nothing can have been written. */
  async #transact(
    connection: SqlConnection,
    request: Request,
    { write, progress }: { write: SqlStatement; progress: { isCommitting: boolean } },
  ): Promise<Ended> {
    const back = this.#readOf(request);
    await back?.read.describe(connection);
    const [begun, written, marked, found] = await Promise.allSettled([
      connection.send({ text: begin(connection.leftMs(), this.#system?.mark ?? '') }),
      connection.send(write),
      connection.send({ text: `select pg_logical_emit_message(true, '${MARK_PREFIX}', '${safe(request.mark)}')` }),
      back && connection.send(back.read.statement(back.parts)),
    ]);
    const isTooLarge = found.status === 'rejected' && isWhy(found.reason, 'too-large');
    const wrong = [begun, written, marked, ...(isTooLarge ? [] : [found])].find(({ status }) => status === 'rejected');
    if (wrong?.status === 'rejected') {
      await connection.send({ text: 'rollback' });
      const { reason } = wrong as { reason: unknown };
      if (!(reason instanceof SqlError)) throw reason;
      if (isReadOnly(reason)) connection.discard();
      // Whatever kept the transaction from beginning did not keep the write, which was on its way already: then it stands alone.
      if (wrong === begun && written.status === 'fulfilled') return unknown(reason);
      if (wrong !== found || !SYNTAX.test(reason.code ?? '')) throw reason;
      back?.read.forget();
      return { kind: 'undone', error: reason };
    }
    const foreign = this.#whyForeign((begun as PromiseFulfilledResult<SqlRows>).value);
    const { count, columns, rows } = (written as PromiseFulfilledResult<SqlRows>).value;
    if (foreign !== undefined || count === 0) {
      await connection.send({ text: 'rollback' });
      if (foreign === undefined) return { kind: 'nothing' };
      connection.discard();
      return {
        kind: 'failed',
        why: 'misconfigured',
        detail: `TIDEMARK_WRITE_URL leads to the wrong server: ${foreign}`,
      };
    }
    const created = rows[0]?.[columns.findIndex(({ name }) => name === 'created')];
    const seen =
      found.status === 'fulfilled' && found.value && back ? back.read.found(found.value, back.parts) : undefined;
    progress.isCommitting = true;
    const [committed, position] = await Promise.allSettled([
      connection.send({ text: 'commit' }),
      connection.send({ text: POSITION }),
    ]);
    if (committed.status === 'rejected') {
      const error = committed.reason as unknown;
      // A deferred constraint, a conflict with others: what Postgres refuses it has undone.
      if (error instanceof SqlError && error.code !== undefined && !BROKE_OFF.test(error.code))
        progress.isCommitting = false;
      throw error;
    }
    if (committed.value.command !== 'COMMIT')
      return {
        kind: 'failed',
        why: 'misconfigured',
        detail: 'the statement ended its transaction in a way that undid it',
      };
    return {
      kind: 'committed',
      created: booleanOf(created),
      value: this.#valueOf(request, seen),
      ...positionOf(position),
    };
  }

  #readOf({ key }: Request): { read: SqlRead; parts: ReadonlyMap<string, string> } | undefined {
    if (typeof this.#keep === 'string') return undefined;
    for (const read of this.#keep.loaded) {
      const parts = read.parts(key);
      if (parts !== undefined) return { read, parts };
    }
    return undefined;
  }

  #valueOf({ put }: Request, seen: SqlFound | undefined): WrittenValue | undefined {
    if (seen !== undefined) return seen.kind === 'failed' ? undefined : seen;
    if (this.#keep !== 'written') return undefined;
    if (put === undefined) return { kind: 'absent' };
    const { body, contentType, tags } = put;
    return { kind: 'value', body, contentType, tags };
  }

  #whyForeign({ rows }: SqlRows): string | undefined {
    const [mark, system] = rows[0]?.slice(7) ?? [];
    if (system !== null && system !== undefined) this.#system = { mark: mark ?? '', id: BigInt(system) };
    const [found, expected] = [this.#system?.id, this.#systemId()];
    if (found === expected || expected === undefined) return undefined;
    return `it is system ${found ?? 'unknown'}, but the stream comes from system ${expected}`;
  }
}

/** A write, of a put together with what it is given beyond a delete. */
type Request = Marked<WriteRequest> & { readonly put?: Marked<PutRequest> };
type Ended = Executed | { readonly kind: 'undone'; readonly error: SqlError };
/** Undefined for a body that is no text. */
type Param = (request: Request, parts: ReadonlyMap<string, string>) => string | null | undefined;

function paramOf(param: string): Param {
  const header = headerOfParam(param);
  if (header !== undefined) return ({ headers }) => headers[header] ?? null;
  switch (param) {
    case '{body}':
      return ({ put }) => put && textOf(put.body);
    case '{bytes}':
      return ({ put }) => `\\x${Buffer.from(put?.body ?? []).toString('hex')}`;
    case '{contentType}':
      return ({ put }) => put?.contentType ?? null;
    case '{tags}':
      return ({ put }) => `{${(put?.tags ?? []).map((tag) => `"${tag.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`;
    default: {
      const template = parseTemplate(param);
      return (_, parts) => fill(template, parts);
    }
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(body: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(body);
  } catch {
    return undefined;
  }
}

function safe(mark: string): string {
  if (!SAFE_MARK.test(mark)) throw new Error(`found a mark that could end its text: ${JSON.stringify(mark)}`);
  return mark;
}

function booleanOf(text: string | null | undefined): boolean | undefined {
  return text === 't' ? true : text === 'f' ? false : undefined;
}

function positionOf(told: PromiseSettledResult<SqlRows>): { lsn: Lsn | 'ask'; timeline: number | undefined } {
  const [lsn, timeline] = told.status === 'fulfilled' ? (told.value.rows[0] ?? []) : [];
  return {
    lsn: lsn === null || lsn === undefined ? 'ask' : parseLsn(lsn),
    timeline: timeline === null || timeline === undefined ? undefined : Number(timeline),
  };
}

function isWhy(error: unknown, why: SqlError['why']): boolean {
  return error instanceof SqlError && error.why === why;
}
