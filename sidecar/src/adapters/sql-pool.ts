import { TimeLimit, withDeadline } from '@tidemark/runtime';
import type { Client, ClientConfig, Pool, PoolClient, QueryArrayConfig } from 'pg';
import {
  isPlanGone,
  notConnected,
  SqlError,
  whileWorking,
  type ServerError,
  type SqlConnection,
  type SqlPool,
  type SqlRows,
  type SqlStatement,
} from '../core/sql.ts';
import { Plans } from '../core/sql-plans.ts';

/** A connection that is not made by then is given up; whoever waits for it has less patience. */
const CONNECT_MS = 5_000;
const IDLE_MS = 30_000;
/** So that connections follow an address that leads elsewhere, also through a pooler. */
const LIFETIME_S = 600;
/** How much longer the server has than we wait, so that its own timeout spares the connection. */
const SERVER_GRACE_MS = 250;
const CANCEL_MS = 2_000;

interface Waiting {
  begin(): void;
}

/** `pg` is loaded with the first work, because a sidecar that needs none of it should not pay for it in memory. */
export class PostgresPool implements SqlPool {
  readonly most: number;
  readonly #connection: ClientConfig;
  readonly #mostWaiting: number;
  readonly #queue = new Set<Waiting>();
  readonly #plans = new Plans();
  #pg: Promise<{ pool: Pool; newClient: () => Client }> | undefined;
  #inUse = 0;
  #closing: Promise<void> | undefined;

  /**
   * @param options.url as {@link postgresUrl} checks it; TLS by `?sslmode=`
   * @param options.applicationName what pg_stat_activity shows, at most 63 bytes
   * @param options.most connections, at least 1
   * @param options.mostWaiting work that waits for one; more is refused at once
   */
  constructor(options: { url: string; applicationName: string; most: number; mostWaiting: number }) {
    this.most = options.most;
    this.#mostWaiting = options.mostWaiting;
    this.#connection = {
      connectionString: options.url,
      application_name: options.applicationName.slice(0, 63),
      connectionTimeoutMillis: CONNECT_MS,
      keepAlive: true,
      pipeline: true,
    };
  }

  get inUse(): number {
    return this.#inUse;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  async use<T>(
    work: (connection: SqlConnection) => Promise<T>,
    limits: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<T> {
    const limit = new TimeLimit(limits);
    try {
      await this.#enter(limit);
      try {
        return await this.#work(work, limit);
      } finally {
        this.#leave();
      }
    } finally {
      limit.clear();
    }
  }

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    const pool = (await this.#pg?.catch(() => undefined))?.pool;
    // It waits for connections that work or are being made, which a hung server may keep for ever.
    if (pool !== undefined)
      await withDeadline(pool.end(), { what: 'closing', deadlineMs: graceMs }).catch(() => undefined);
  }

  /** One of `most` places, in the order of asking. */
  #enter(limit: TimeLimit): Promise<void> {
    if (this.#inUse < this.most && this.#queue.size === 0) {
      this.#inUse += 1;
      return Promise.resolve();
    }
    if (this.#queue.size >= this.#mostWaiting)
      return Promise.reject(
        new SqlError('busy', `all ${this.most} connections work, and ${this.#queue.size} wait for one`, {
          sent: false,
        }),
      );
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        begin: () => {
          forget();
          this.#inUse += 1;
          resolve();
        },
      };
      this.#queue.add(waiting);
      const forget = limit.onEnd((why) => {
        this.#queue.delete(waiting);
        const error =
          why === 'aborted'
            ? new SqlError('timeout', 'given up', { sent: false })
            : new SqlError('busy', `no connection became free within ${limit.timeoutMs} ms`, { sent: false });
        reject(error);
      });
    });
  }

  #leave(): void {
    this.#inUse -= 1;
    const [next] = this.#queue;
    if (next === undefined) return;
    this.#queue.delete(next);
    next.begin();
  }

  async #work<T>(work: (connection: SqlConnection) => Promise<T>, limit: TimeLimit): Promise<T> {
    const client = await this.#connect(limit);
    const connection = new Connection(client, limit, this.#plans);
    // Not heard while it works: the pool listens to idle ones only, and what is under way fails by itself.
    const onError = (): void => connection.discard();
    client.on('error', onError);
    let isAbandoned = false;
    try {
      return await limit.race(work(connection), SERVER_GRACE_MS, (why) => {
        isAbandoned = true;
        return new SqlError('timeout', why === 'aborted' ? 'given up' : `no answer within ${limit.timeoutMs} ms`, {
          sent: true,
        });
      });
    } finally {
      client.off('error', onError);
      if (isAbandoned) void this.#cancel(client);
      const isClean = !isAbandoned && !connection.isDiscarded && client.getTransactionStatus() === 'I';
      // The pool would wait for what is under way, however long it takes.
      if (!isClean) client.connection.stream.destroy();
      client.release(!isClean);
    }
  }

  async #connect(limit: TimeLimit): Promise<PoolClient> {
    // Work that waited until now too, or nobody would close the pool that it makes.
    if (this.#closing !== undefined) throw new SqlError('unavailable', 'this process stops', { sent: false });
    const connecting = this.#open().then(({ pool }) => pool.connect());
    let isLate = false;
    try {
      return await limit.race(connecting, 0, (why) => {
        isLate = true;
        return why === 'aborted'
          ? new SqlError('timeout', 'given up', { sent: false })
          : new SqlError('unavailable', `no connection within ${limit.timeoutMs} ms`, { sent: false });
      });
    } catch (error) {
      // It may still come, for the next one.
      if (isLate)
        connecting.then(
          (client) => client.release(),
          () => undefined,
        );
      throw error instanceof SqlError ? error : notConnected(error as ServerError);
    }
  }

  #open(): Promise<{ pool: Pool; newClient: () => Client }> {
    this.#pg ??= import('pg').then(({ default: pg }) => {
      const pool = new pg.Pool({
        ...this.#connection,
        max: this.most,
        idleTimeoutMillis: IDLE_MS,
        maxLifetimeSeconds: LIFETIME_S,
      });
      pool.on('error', () => undefined); // an idle connection ended; the next work makes a new one
      // Between the pool's listener and that of the work there is a moment in which nobody listens: what the server says behind its
      // greeting, in the same packet, would end the process.
      pool.on('connect', (client) => client.on('error', () => undefined));
      return { pool, newClient: () => new pg.Client({ ...this.#connection, pipeline: false }) };
    });
    return this.#pg;
  }

  /** Tells the server to end what the connection does (postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS). */
  async #cancel(client: PoolClient): Promise<void> {
    const { newClient } = await this.#open();
    const { processID: pid, secretKey } = client as unknown as { processID: number | null; secretKey: number | null };
    if (pid === null || secretKey === null) return;
    const other = newClient();
    const wire = other.connection as unknown as CancelWire;
    const timer = setTimeout(() => wire.stream.destroy(), CANCEL_MS);
    wire.on('error', () => undefined);
    wire.on('end', () => clearTimeout(timer));
    wire.on('connect', () => (other.ssl ? wire.requestSsl() : wire.cancel(pid, secretKey)));
    wire.on('sslconnect', () => wire.cancel(pid, secretKey));
    if (other.host.startsWith('/')) wire.connect(`${other.host}/.s.PGSQL.${other.port}`);
    else wire.connect(other.port, other.host);
  }
}

/** What of pg's connection it needs to cancel; the package does not type it. */
interface CancelWire {
  readonly stream: { destroy(): void };
  on(event: 'connect' | 'sslconnect' | 'error' | 'end', listener: () => void): void;
  connect(portOrPath: number | string, host?: string): void;
  requestSsl(): void;
  cancel(pid: number, secretKey: number): void;
}

class Connection implements SqlConnection {
  readonly #client: PoolClient;
  readonly #limit: TimeLimit;
  readonly #plans: Plans;
  #isDiscarded = false;

  constructor(client: PoolClient, limit: TimeLimit, plans: Plans) {
    this.#client = client;
    this.#limit = limit;
    this.#plans = plans;
  }

  get isDiscarded(): boolean {
    return this.#isDiscarded;
  }

  leftMs(): number {
    return Math.max(1, Math.ceil(this.#limit.leftMs()));
  }

  discard(): void {
    this.#isDiscarded = true;
  }

  async send(statement: SqlStatement): Promise<SqlRows> {
    const { text, values, again = false, maxBytes = Number.POSITIVE_INFINITY } = statement;
    const plan = again ? this.#plans.nameOf(text) : undefined;
    let bytes = 0;
    const keep = (value: string): string => {
      bytes += Buffer.byteLength(value);
      if (bytes > maxBytes)
        throw new SqlError('too-large', `the answer is larger than ${maxBytes} bytes`, { sent: true });
      return value;
    };
    const query: QueryArrayConfig<(string | null)[]> = {
      text,
      rowMode: 'array',
      types: { getTypeParser: () => keep },
      ...(values && { values: [...values], queryMode: 'extended' }),
      ...(plan !== undefined && { name: plan }),
    };
    try {
      const found: Found | readonly Found[] = await this.#client.query<(string | null)[]>(query);
      const {
        fields = [],
        rows = [],
        command,
        rowCount,
      } = (isMany(found) ? found.findLast((each) => each.fields?.length !== 0) : found) ?? {};
      const columns = fields.map(({ name, dataTypeID: type }) => ({ name, type }));
      return { columns, rows, command: command ?? '', count: rowCount ?? undefined };
    } catch (error) {
      if (error instanceof SqlError) throw error;
      const failed = whileWorking(error as ServerError);
      if (isPlanGone(failed.code)) this.#plans.keepNone();
      throw failed;
    }
  }
}

interface Found {
  readonly fields?: readonly { readonly name: string; readonly dataTypeID: number }[];
  readonly rows?: readonly (string | null)[][];
  readonly command?: string;
  readonly rowCount?: number | null;
}

/** pg answers a list for several statements, which its types do not say. */
function isMany(found: Found | readonly Found[]): found is readonly Found[] {
  return Array.isArray(found);
}
