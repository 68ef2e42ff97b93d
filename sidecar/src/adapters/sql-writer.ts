import {
  headerOfParam,
  parseKeyPattern,
  parseLsn,
  type KeyPattern,
  type Lsn,
  type WriteThroughConfig,
  type WriteThroughSql,
} from '@tidemark/proto';
import { Backoff, TimeLimit } from '@tidemark/runtime';
import type { ServerIdentity } from '../core/server-identity.ts';
import type { SqlFound, SqlRead } from '../core/sql-read.ts';
import { SqlError, type SqlConnection, type SqlPool, type SqlRows, type SqlStatement } from '../core/sql.ts';
import { failed, isReadOnly, notBegun, unknown } from '../core/write-failures.ts';
import { paramOf } from '../core/write-params.ts';
import {
  beginning as begin,
  ending,
  marking,
  POSITION,
  serverOf,
  transactionOf,
  whyNotThere,
  type Transaction,
} from '../core/write-statements.ts';
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

/** How long it may take to find out that a write is over whose COMMIT was not answered. */
const END_MS = 1_000;

/** How far a transaction has come. */
interface Progress {
  /** It may have been committed, as far as anybody knows here. */
  isOpen: boolean;
  /** Once it was written to. */
  transaction: Transaction | undefined;
  /** Once COMMIT has answered. */
  ended: Executed | undefined;
}

/** Performs writes by the statements of the configuration, each with what is read back in one transaction. */
export class SqlWriter implements WriteExecutor {
  readonly headers: readonly string[];
  readonly put?: (request: Marked<PutRequest>) => Promise<Executed>;
  readonly delete?: (request: Marked<WriteRequest>) => Promise<Executed>;
  readonly #pool: SqlPool;
  readonly #timeoutMs: number;
  readonly #endMs: number;
  readonly #pattern: KeyPattern;
  readonly #keep: 'written' | 'nothing' | { readonly loaded: readonly SqlRead[] };
  readonly #followed: () => ServerIdentity;
  /** Of the server that was asked last, by when it was started. */
  #system: { readonly mark: string; readonly id: bigint } | undefined;

  /**
   * @param options.keep what is under a key after a put: the value as it was sent, what the first of these reads finds that is for the
   *   key, or nobody knows
   * @param options.followed the server that the stream comes from
   * @param options.endMs longest that it may take to end what nobody knows the outcome of, beyond the write's own time (default 1 s)
   */
  constructor(options: {
    config: WriteThroughConfig;
    pool: SqlPool;
    keep: 'written' | 'nothing' | { readonly loaded: readonly SqlRead[] };
    followed: () => ServerIdentity;
    endMs?: number;
  }) {
    const { config } = options;
    this.#pool = options.pool;
    this.#timeoutMs = config.timeout;
    this.#endMs = options.endMs ?? END_MS;
    this.#pattern = parseKeyPattern(config.key);
    this.#keep = options.keep;
    this.#followed = options.followed;
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
    const params = step.params.map((param) => paramOf(param, hexOf));
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
    const progress: Progress = { isOpen: false, transaction: undefined, ended: undefined };
    try {
      const { signal } = request;
      return await this.#pool.use((connection) => this.#transact(connection, request, { write, progress }), {
        timeoutMs,
        signal,
      });
    } catch (error) {
      if (!(error instanceof SqlError)) throw error;
      // What came behind COMMIT was late.
      if (progress.ended !== undefined) return progress.ended;
      if (progress.isOpen) return unknown(error, await this.#end(progress.transaction, request.signal));
      return UNDONE_FOR_OTHERS.test(error.code ?? '') ? { kind: 'undone', error } : failed(error);
    }
  }

  /** Whether nothing of a transaction is under way any more; what still is, is ended. */
  async #end(transaction: Transaction | undefined, signal: AbortSignal): Promise<boolean> {
    if (transaction === undefined) return false;
    const limit = new TimeLimit({ timeoutMs: this.#endMs });
    const pauses = new Backoff({ firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS });
    for (;;) {
      const timeoutMs = Math.floor(limit.leftMs());
      if (timeoutMs <= 0 || signal.aborted) return false;
      try {
        const statement = ending(transaction, timeoutMs);
        const { rows } = await this.#pool.use((connection) => connection.send(statement), { timeoutMs, signal });
        return rows[0]?.[0] === 't';
      } catch (error) {
        if (!(error instanceof SqlError)) throw error;
      }
      await pauses.pause(signal);
    }
  }

  /** Everything up to COMMIT in one round trip, COMMIT in a second one: until that is sent, nothing can have been written. */
  async #transact(
    connection: SqlConnection,
    request: Request,
    { write, progress }: { write: SqlStatement; progress: Progress },
  ): Promise<Ended> {
    const back = this.#readOf(request);
    await back?.read.describe(connection);
    const known = this.#system;
    const beginning = connection.send(begin(connection.leftMs(), known?.mark ?? ''));
    // Whatever kept the transaction from beginning did not keep the write, which is on its way already: then it stands alone.
    beginning.catch(() => (progress.isOpen = true));
    const [begun, written, marked, found] = await Promise.allSettled([
      beginning,
      connection.send(write),
      connection.send(marking(request.mark)),
      back && connection.send(back.read.statement(back.parts)),
    ]);
    const isTooLarge = found.status === 'rejected' && isWhy(found.reason, 'too-large');
    const wrong = [begun, written, marked, ...(isTooLarge ? [] : [found])].find(({ status }) => status === 'rejected');
    if (wrong?.status === 'rejected') {
      progress.isOpen = wrong === begun && written.status === 'fulfilled';
      // Where it does not arrive the connection is lost, and the transaction with it.
      await connection.send({ text: 'rollback' }).catch(() => connection.discard());
      const { reason: error } = wrong as { reason: unknown };
      if (!(error instanceof SqlError)) throw error;
      const reason = wrong === begun ? notBegun(error) : error;
      if (isReadOnly(reason)) connection.discard();
      if (progress.isOpen) return unknown(reason, true);
      if (wrong !== found || !SYNTAX.test(reason.code ?? '')) throw reason;
      back?.read.forget();
      return { kind: 'undone', error: reason };
    }
    const refused = this.#whyNotThere((begun as PromiseFulfilledResult<SqlRows>).value, known?.id);
    const { count, columns, rows } = (written as PromiseFulfilledResult<SqlRows>).value;
    if (refused !== undefined || count === 0) {
      await connection.send({ text: 'rollback' });
      if (refused !== undefined) connection.discard();
      return refused ?? { kind: 'nothing' };
    }
    const created = booleanOf(rows[0]?.[columns.findIndex(({ name }) => name === 'created')]);
    const seen =
      found.status === 'fulfilled' && found.value && back ? back.read.found(found.value, back.parts) : undefined;
    progress.transaction = transactionOf((marked as PromiseFulfilledResult<SqlRows>).value);
    progress.isOpen = true;
    const committing = connection.send({ text: 'commit' }).then(({ command }) => {
      progress.ended = command === 'COMMIT' ? { ...COMMITTED, created } : UNDONE_BY_ITSELF;
    });
    const [committed, position] = await Promise.allSettled([committing, connection.send(POSITION)]);
    if (committed.status === 'rejected') {
      const error = committed.reason as unknown;
      // A conflict with others, a transaction that took too long: what Postgres refuses it has undone.
      if (error instanceof SqlError && error.code !== undefined && !BROKE_OFF.test(error.code)) progress.isOpen = false;
      throw error;
    }
    const told = placeOf(position);
    // Without it nobody knows on which timeline the server is: it may be a primary that was replaced, and know less than the stream.
    if (progress.ended?.kind !== 'committed' || told === undefined) return progress.ended ?? COMMITTED;
    return { ...progress.ended, ...told, value: this.#valueOf(request, seen) };
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

  /** @param known the system where it did not tell: it was started when that was, and others may have been asked since */
  #whyNotThere(begun: SqlRows, known: bigint | undefined): Executed | undefined {
    const { mark, systemId, timeline } = serverOf(begun);
    if (systemId !== undefined) this.#system = { mark, id: systemId };
    return whyNotThere({ systemId: systemId ?? known, timeline }, this.#followed());
  }
}

/** A write, of a put together with what it is given beyond a delete. */
type Request = Marked<WriteRequest> & { readonly put?: Marked<PutRequest> };
type Ended = Executed | { readonly kind: 'undone'; readonly error: SqlError };
/** Of which nothing is known but that. */
const COMMITTED: Extract<Executed, { kind: 'committed' }> = {
  kind: 'committed',
  created: undefined,
  lsn: 'ask',
  timeline: undefined,
  value: undefined,
};
const UNDONE_BY_ITSELF: Executed = {
  kind: 'failed',
  why: 'misconfigured',
  detail: 'the statement ended its transaction in a way that undid it',
};

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

function booleanOf(text: string | null | undefined): boolean | undefined {
  return text === 't' ? true : text === 'f' ? false : undefined;
}

function placeOf(told: PromiseSettledResult<SqlRows>): { lsn: Lsn; timeline: number } | undefined {
  const [lsn, timeline] = told.status === 'fulfilled' ? (told.value.rows[0] ?? []) : [];
  return typeof lsn === 'string' && typeof timeline === 'string'
    ? { lsn: parseLsn(lsn), timeline: Number(timeline) }
    : undefined;
}

function isWhy(error: unknown, why: SqlError['why']): boolean {
  return error instanceof SqlError && error.why === why;
}
