import { formatFlushedMark, MARK_PREFIX } from '@tidemark/proto';
import { Client, type ClientConfig } from 'pg';
import { OperatorError } from '../core/errors.ts';
import { NOTE_PLACE_SQL } from '../core/flush/places.ts';
import { FLUSH_RIGHTS_SQL, flushGrants } from '../core/schema/flush-rights.ts';
import { FLUSH_TABLES_SQL } from '../core/schema/flush-tables.ts';
import { failureKind, type Failure } from '../core/flush/failure.ts';
import { arrayLiteral, storable, valuesOf, type SqlValue } from '../core/flush/params.ts';
import type { FlushPlan, Parked, Runnable, WriteRecord } from '../core/flush/plan.ts';

const PARTITION = 0;
const CONNECT_MS = 5_000;
/** Most parked writes that one transaction tries again. */
const MAX_RETRIED = 100;
/** Somebody else's transaction holds a row: better to begin anew than to hold what we have. */
const LOCK_MS = 5_000;
const STATEMENT_MS = 30_000;
const SILENCE_MS = STATEMENT_MS + CONNECT_MS;
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
  /** Notes how far it is. Answers the offset below which all has been in Postgres for so long; 0: nothing. */
  notePlace(keepMs: number): Promise<number>;
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

/** Runs statements in their order, all or none. Rejects with what the server says of the first that fails, or after a silence. */
export type RunAll = (
  client: Client,
  statements: readonly { readonly sql: string; readonly values: readonly (string | Buffer | null)[] }[],
  options: { readonly silenceMs: number },
) => Promise<void>;

/** Opens a session and makes the tables where they are missing. Rejects with {@link OperatorError} where the role may not. */
export async function openFlushDatabase(options: {
  readonly connection: ClientConfig;
  readonly topic: string;
  readonly runAll: RunAll;
}): Promise<FlushDatabase> {
  const { connection, topic, runAll } = options;
  const client = new Client({
    ...connection,
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    lock_timeout: LOCK_MS,
    statement_timeout: STATEMENT_MS,
    // A server that says nothing at all.
    query_timeout: SILENCE_MS,
  });
  // The query that is under way fails, and so does the next one.
  client.on('error', () => undefined);
  try {
    await client.connect();
    // A flusher whose machine is gone must not keep the turn for two hours (the default of most kernels).
    await client.query(
      'set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3; set idle_in_transaction_session_timeout = 15000',
    );
    // A batch takes its time; there is no such setting before Postgres 17.
    await client.query("select set_config(name, '0', false) from pg_settings where name = 'transaction_timeout'");
    await ensureTables(client);
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
  return new Session(client, topic, runAll);
}

async function ensureTables(client: Client): Promise<void> {
  const { rows } = await client.query<{ there: boolean }>(
    "select bool_and(to_regclass('tidemark.' || name) is not null) as there from unnest(array['flush_progress', 'flush_places', 'parked_writes']) name",
  );
  if (rows[0]?.there === true) return expectRights(client);
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

/** Asked first, because in a transaction of writes it would look like a failure of theirs. */
async function expectRights(client: Client): Promise<void> {
  const { rows } = await client.query<{ role: string; lacks: boolean }>(FLUSH_RIGHTS_SQL);
  const [facts] = rows;
  if (facts?.lacks !== true) return;
  throw new OperatorError(`role ${facts.role} may not write to the tables of tidemark flush`, flushGrants(facts.role));
}

class Session implements FlushDatabase {
  readonly #client: Client;
  readonly #topic: string;
  readonly #runStatements: RunAll;

  constructor(client: Client, topic: string, runAll: RunAll) {
    this.#client = client;
    this.#topic = topic;
    this.#runStatements = runAll;
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

  async notePlace(keepMs: number): Promise<number> {
    const values = [this.#topic, PARTITION, keepMs];
    const query = { name: 'note', text: NOTE_PLACE_SQL, values };
    const { rows } = await this.#client.query<{ forgettable: string }>(query);
    return Number(rows[0]?.forgettable ?? 0);
  }

  async flush(work: FlushWork): Promise<Flushed> {
    const { plan, fromOffset, nextOffset, isolates } = work;
    const client = this.#client;
    await client.query('begin');
    const found = await this.#readProgress('for update');
    if (found !== fromOffset)
      throw new ProgressMovedError(`the writes were flushed up to ${found} meanwhile, expected ${fromOffset}`);
    const runnable = plan.steps.filter((step) => step.kind === 'run');
    const parked: Parked[] = plan.steps.filter((step) => step.kind === 'park');
    if (isolates) parked.push(...(await this.#runEach(runnable, work)));
    else await this.#runAll(runnable);
    for (const each of parked) await this.#park(each);
    await client.query({
      name: 'flushed',
      text: `with moved as (
               update tidemark.flush_progress set next_offset = $3, flushed_at = now() where topic = $1 and partition = $2 returning 1)
             select pg_logical_emit_message(true, $4, $5) from moved`,
      values: [this.#topic, PARTITION, nextOffset, MARK_PREFIX, formatFlushedMark(this.#topic, nextOffset)],
    });
    await client.query('commit');
    return { statements: runnable.length, parked };
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
    let failed = 0;
    for (const { id, offset, record } of rows) {
      const [step] = planOf([{ offset: Number(offset), value: record }]).steps;
      const again = step?.kind === 'run' ? (await this.#runEach([step], { parksUnclear: true }))[0] : step;
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

  /** One after the other without waiting for each. Rejects where one fails. */
  async #runAll(steps: readonly Runnable[]): Promise<void> {
    const statements = steps.map((step) => ({ sql: step.statement.sql, values: valuesOf(step).map(driverValue) }));
    await this.#runStatements(this.#client, statements, { silenceMs: SILENCE_MS });
  }

  /** As if each ran by itself. Answers those that failed. */
  async #runEach(steps: readonly Runnable[], work: Pick<FlushWork, 'parksUnclear'>): Promise<readonly Parked[]> {
    // What a constraint has to say of a write, it says at once.
    await this.#client.query('set constraints all immediate');
    return this.#runHalves(steps, work);
  }

  /**
   * In their order, and those that fail left out: where one of them fails all are taken back, and each half is run so. A few bad
   * writes among thousands cost a few dozen round trips, and not three for each. What may have failed for its slowness is run once more only.
   */
  async #runHalves(steps: readonly Runnable[], work: Pick<FlushWork, 'parksUnclear'>): Promise<readonly Parked[]> {
    if (steps.length === 0) return [];
    await this.#client.query('savepoint write');
    try {
      await this.#runAll(steps);
      await this.#client.query('release savepoint write');
      return [];
    } catch (error) {
      const { code, message } = error as Error & Failure;
      const kind = failureKind(error as Failure);
      if (kind !== 'own' && !(kind === 'unclear' && work.parksUnclear)) throw error;
      await this.#client.query('rollback to savepoint write; release savepoint write');
      const [step] = steps;
      if (steps.length === 1 && step !== undefined)
        return [{ kind: 'park', record: step.record, write: step.write, code, why: message }];
      const size = kind === 'own' ? Math.ceil(steps.length / 2) : 1;
      const parked: Parked[] = [];
      for (let i = 0; i < steps.length; i += size)
        parked.push(...(await this.#runHalves(steps.slice(i, i + size), work)));
      return parked;
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

/** What the driver sends as it is: text, or bytes for a column of type bytea. */
function driverValue(value: SqlValue): string | Buffer | null {
  if (value instanceof Uint8Array) return asBuffer(value);
  return value === null || typeof value === 'string' ? value : arrayLiteral(value);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
