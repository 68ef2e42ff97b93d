import { formatFlushedMark, MARK_PREFIX } from '@tidemark/proto';
import { Client, type ClientConfig } from 'pg';
import { OperatorError } from '../core/errors.ts';
import { FLUSH_TABLES_SQL } from '../core/schema/flush-tables.ts';
import { failureKind } from '../core/flush/failure.ts';
import { valuesOf } from '../core/flush/params.ts';
import type { FlushPlan, Parked, Runnable, WriteRecord } from '../core/flush/plan.ts';

const PARTITION = 0;
const CONNECT_MS = 5_000;
/** Most parked writes that one transaction tries again. */
const MAX_RETRIED = 100;
/** Somebody else's transaction holds a row: better to begin anew than to hold what we have. */
const LOCK_MS = 5_000;
const STATEMENT_MS = 30_000;
const MISSING_PRIVILEGE = '42501';

/** Another flusher has worked meanwhile, or a person has set the progress: what was read says nothing any more. */
export class ProgressMovedError extends Error {
  override name = 'ProgressMovedError';
}

/** What became of a plan that was carried out. */
export interface Flushed {
  readonly statements: number;
  readonly parked: readonly Parked[];
}

/** What became of parked writes that were tried again. */
export interface Retried {
  readonly done: number;
  readonly failed: number;
}

/** A session of the flusher with Postgres. A failed call leaves it unusable: open another one. */
export interface FlushDatabase {
  /** Whether this session is the only one that flushes the topic; it is until it ends. */
  tryTurn(): Promise<boolean>;
  /** Offset of the first write that is not in Postgres yet; 0 where nothing ever was. */
  progress(): Promise<number>;
  /** Carries out a plan as one transaction. Rejects with {@link ProgressMovedError} where others were faster. */
  flush(work: FlushWork): Promise<Flushed>;
  /** Runs the statements of parked writes that a person has marked with `retry`; those that fail again stay. */
  retryParked(plan: (records: readonly WriteRecord[]) => FlushPlan): Promise<Retried>;
  close(): Promise<void>;
}

export interface FlushWork {
  readonly plan: FlushPlan;
  /** Where the progress has to be, and where it is afterwards. */
  readonly fromOffset: number;
  readonly nextOffset: number;
  /** Each write by itself: one that fails is parked, and the others go on. Otherwise a failure fails all. */
  readonly isolates: boolean;
  /** Whether what may be the write's fault, or not, is taken for that. */
  readonly parksUnclear: boolean;
}

/** Opens a session and makes the tables where they are missing. Rejects with {@link OperatorError} where the role may not. */
export async function openFlushDatabase(options: {
  readonly connection: ClientConfig;
  readonly topic: string;
}): Promise<FlushDatabase> {
  const { connection, topic } = options;
  const client = new Client({
    ...connection,
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    lock_timeout: LOCK_MS,
    statement_timeout: STATEMENT_MS,
    // A server that says nothing at all.
    query_timeout: STATEMENT_MS + CONNECT_MS,
  });
  // The query that is under way fails, and so does the next one.
  client.on('error', () => undefined);
  try {
    await client.connect();
    // A flusher whose machine is gone must not keep the turn for two hours (the default of most kernels).
    await client.query(
      'set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3; set idle_in_transaction_session_timeout = 15000',
    );
    await ensureTables(client);
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
  return new Session(client, topic);
}

async function ensureTables(client: Client): Promise<void> {
  const { rows } = await client.query<{ there: boolean }>(
    "select to_regclass('tidemark.flush_progress') is not null and to_regclass('tidemark.parked_writes') is not null as there",
  );
  if (rows[0]?.there === true) return;
  try {
    await client.query(FLUSH_TABLES_SQL);
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    if (code !== MISSING_PRIVILEGE) throw error;
    throw new OperatorError(
      `the role may not make the tables that it needs (${message}): let a role that may run tidemark migrate`,
    );
  }
}

class Session implements FlushDatabase {
  readonly #client: Client;
  readonly #topic: string;

  constructor(client: Client, topic: string) {
    this.#client = client;
    this.#topic = topic;
  }

  async tryTurn(): Promise<boolean> {
    const { rows } = await this.#client.query<{ mine: boolean }>(
      "select pg_try_advisory_lock(hashtext('tidemark flush'), hashtext($1)) as mine",
      [this.#topic],
    );
    return rows[0]?.mine === true;
  }

  async progress(): Promise<number> {
    await this.#client.query(
      'insert into tidemark.flush_progress (topic, partition, next_offset) values ($1, $2, 0) on conflict do nothing',
      [this.#topic, PARTITION],
    );
    return this.#readProgress('');
  }

  async flush(work: FlushWork): Promise<Flushed> {
    const { plan, fromOffset, nextOffset, isolates } = work;
    const client = this.#client;
    await client.query('begin');
    const found = await this.#readProgress('for update');
    if (found !== fromOffset)
      throw new ProgressMovedError(`the writes were flushed up to ${found} meanwhile, expected ${fromOffset}`);
    // What a constraint has to say of a write, it says at once.
    if (isolates) await client.query('set constraints all immediate');
    const parked: Parked[] = [];
    let statements = 0;
    for (const step of plan.steps) {
      const failed = step.kind === 'park' ? step : await this.#run(step, work);
      if (step.kind === 'run') statements += 1;
      if (failed === undefined) continue;
      parked.push(failed);
      await this.#park(failed);
    }
    await client.query({
      name: 'flushed',
      text: `with moved as (
               update tidemark.flush_progress set next_offset = $3, flushed_at = now() where topic = $1 and partition = $2 returning 1)
             select pg_logical_emit_message(true, $4, $5) from moved`,
      values: [this.#topic, PARTITION, nextOffset, MARK_PREFIX, formatFlushedMark(this.#topic, nextOffset)],
    });
    await client.query('commit');
    return { statements, parked };
  }

  async retryParked(planOf: (records: readonly WriteRecord[]) => FlushPlan): Promise<Retried> {
    const client = this.#client;
    await client.query('begin');
    const { rows } = await client.query<{ id: string; offset: string; record: Buffer }>({
      name: 'marked',
      text: `select id::text as id, "offset"::text as offset, record from tidemark.parked_writes
              where topic = $1 and partition = $2 and retry order by id limit ${MAX_RETRIED} for update`,
      values: [this.#topic, PARTITION],
    });
    if (rows.length > 0) await client.query('set constraints all immediate');
    let failed = 0;
    for (const { id, offset, record } of rows) {
      const [step] = planOf([{ offset: Number(offset), value: record }]).steps;
      const isolated = { isolates: true, parksUnclear: true };
      const again = step?.kind === 'run' ? await this.#run(step, isolated) : step;
      if (again === undefined) await client.query('delete from tidemark.parked_writes where id = $1', [id]);
      else {
        failed += 1;
        await client.query('update tidemark.parked_writes set retry = false, code = $2, error = $3 where id = $1', [
          id,
          again.code,
          storable(again.why),
        ]);
      }
    }
    await client.query('commit');
    return { done: rows.length - failed, failed };
  }

  close(): Promise<void> {
    return this.#client.end();
  }

  async #readProgress(locking: '' | 'for update'): Promise<number> {
    const { rows } = await this.#client.query<{ next: string }>(
      `select next_offset::text as next from tidemark.flush_progress where topic = $1 and partition = $2 ${locking}`,
      [this.#topic, PARTITION],
    );
    if (rows[0] === undefined)
      throw new ProgressMovedError('the row of this topic is gone from tidemark.flush_progress');
    return Number(rows[0].next);
  }

  /** Undefined where it worked. Rejects for every failure that does not park the write. */
  async #run(
    step: Runnable,
    { isolates, parksUnclear }: Pick<FlushWork, 'isolates' | 'parksUnclear'>,
  ): Promise<Parked | undefined> {
    if (isolates) await this.#client.query('savepoint write');
    try {
      await this.#client.query(step.statement.sql, valuesOf(step).map(driverValue));
      if (isolates) await this.#client.query('release savepoint write');
      return undefined;
    } catch (error) {
      const { code, message } = error as Error & { code?: string };
      const kind = failureKind(code);
      const isParked = isolates && (kind === 'own' || (kind === 'unclear' && parksUnclear));
      if (!isParked) throw error;
      await this.#client.query('rollback to savepoint write; release savepoint write');
      return { kind: 'park', record: step.record, write: step.write, code, why: message };
    }
  }

  async #park({ record, write, code, why }: Parked): Promise<void> {
    await this.#client.query({
      name: 'park',
      text: `insert into tidemark.parked_writes (topic, partition, "offset", namespace, key, kind, written_at, code, error, record)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             on conflict (topic, partition, "offset") do update set code = excluded.code, error = excluded.error`,
      values: [
        this.#topic,
        PARTITION,
        record.offset,
        write?.namespace,
        write && storable(write.key),
        write?.kind,
        write && new Date(write.atMs).toISOString(),
        code,
        storable(why),
        asBuffer(record.value),
      ],
    });
  }
}

/** The driver sends typed arrays as text unless they are Buffers. */
function driverValue(value: unknown): unknown {
  return value instanceof Uint8Array ? asBuffer(value) : value;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Text of Postgres holds no NUL; the record itself is stored as it is. */
function storable(text: string): string {
  return text.replaceAll('\0', '\\0').toWellFormed();
}
