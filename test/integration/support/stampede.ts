import { once } from 'node:events';
import { Agent, createServer, request as httpRequest, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseLsn } from '@tidemark/proto';
import pg from 'pg';

/* What it takes to show a stampede: an origin that counts, a row that changes, and readers that never stop. */

export const STAMPEDE_SQL = `create table hot (id int primary key, n int not null); insert into hot values (1, 0);`;
/** What the origin's query takes, in seconds. */
const QUERY_S = 0.02;

/** Answers the number in the row over HTTP after a query of about 20 ms, as an application or its database would, and counts. */
export class Origin {
  /** Loads by the namespace that they were for, which is the first part of the path. */
  readonly #loads = new Map<string, number>();
  /** So many of the next loads fail. */
  failing = 0;
  /** Loads that failed. */
  failed = 0;
  #pool: pg.Pool | undefined;
  #hung: ((namespace: string) => Promise<void> | undefined) | undefined;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer({ keepAliveTimeout: 60_000 }, ({ url = '' }, response) => {
      void this.#load(url.split('/')[1] ?? '').then((body) => {
        response.writeHead(body === undefined ? 400 : 200, { 'content-type': 'text/plain' }).end(body);
      });
    });
  }

  static async start(): Promise<Origin> {
    const origin = new Origin();
    origin.#server.listen(0, '127.0.0.1');
    await once(origin.#server, 'listening');
    return origin;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  loadsOf(namespace: string): number {
    return this.#loads.get(namespace) ?? 0;
  }

  /** Until then every load fails. */
  connect(postgres: string): void {
    this.#pool = new pg.Pool({ connectionString: postgres, max: 40, allowExitOnIdle: true });
    this.#pool.on('error', () => undefined); // idle connections end with the database that the stack takes along
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await this.disconnect();
  }

  /** Loads fail again. */
  async disconnect(): Promise<void> {
    const pool = this.#pool;
    this.#pool = undefined;
    await pool?.end();
  }

  /** The next load is not answered until it is released. */
  hang(): { reached(): Promise<void>; release(): void } {
    const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    this.#hung = () => {
      this.#hung = undefined;
      reached.resolve();
      return released.promise;
    };
    return { reached: () => reached.promise, release: released.resolve };
  }

  /** No load for the namespace is answered until they are released. `waiting`: how many there are. */
  holdAll(of: string): { waiting: number; release(): void } {
    const released = Promise.withResolvers<void>();
    const held = {
      waiting: 0,
      release: () => {
        this.#hung = undefined;
        released.resolve();
      },
    };
    this.#hung = (namespace) => {
      if (namespace !== of) return undefined;
      held.waiting += 1;
      return released.promise;
    };
    return held;
  }

  async #load(namespace: string): Promise<string | undefined> {
    await this.#hung?.(namespace);
    if (this.failing > 0 || this.#pool === undefined) {
      this.failing -= 1;
      this.failed += 1;
      return undefined;
    }
    const text = `select n, pg_sleep(${QUERY_S}) from hot where id = 1`;
    const { rows } = await this.#pool.query<{ n: number }>(text);
    const [{ n }] = rows as [{ n: number }];
    this.#loads.set(namespace, this.loadsOf(namespace) + 1);
    return String(n);
  }
}

/** The row. Nobody else writes to the database, so a commit ends where the WAL ends. */
export class Changes {
  /** Positions of the commits, by the number that they wrote. */
  readonly lsns: number[] = [0];
  readonly #client: pg.Client;

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  static async connect(postgres: string): Promise<Changes> {
    const client = new pg.Client({ connectionString: postgres });
    await client.connect();
    return new Changes(client);
  }

  async next(): Promise<number> {
    const n = this.lsns.length;
    const results = (await this.#client.query(
      `begin; update hot set n = ${n} where id = 1; commit; select pg_current_wal_insert_lsn()::text as lsn`,
    )) as unknown as pg.QueryResult<{ lsn: string }>[];
    this.lsns.push(parseLsn(results.at(-1)?.rows[0]?.lsn ?? ''));
    return n;
  }

  /** What was served that lacks a change which its sidecar had applied. */
  stale(seen: Iterable<readonly [lsn: number, n: number]>): unknown[] {
    return [...seen].filter(([lsn, n]) => n < this.lsns.findLastIndex((each) => each <= lsn));
  }

  stop(): Promise<void> {
    return this.#client.end();
  }
}

/** Readers of one key, each with a connection of its own, that ask again as soon as they have an answer. */
export class Readers {
  /** The oldest number by `Tidemark-Lsn`. */
  readonly seen = new Map<number, number>();
  timings: number[] = [];
  errors = 0;
  readonly #options: ReadersOptions;
  readonly #agent: Agent;
  readonly #running: Promise<void>[];
  #isStopped = false;

  constructor(options: ReadersOptions) {
    this.#options = options;
    this.#agent = new Agent({ keepAlive: true, maxSockets: options.count });
    this.#running = Array.from({ length: options.count }, () => this.#run());
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#running);
    this.#agent.destroy();
  }

  async #run(): Promise<void> {
    const { thinkMs } = this.#options;
    while (!this.#isStopped) {
      const startedMs = performance.now();
      try {
        await this.#read();
        this.timings.push(performance.now() - startedMs);
      } catch {
        this.errors += 1;
      }
      await new Promise((resolve) => setTimeout(resolve, thinkMs * (0.5 + Math.random())));
    }
  }

  /** Cache-aside, as an application does it. */
  async #read(): Promise<void> {
    const { sidecar, origin, namespace } = this.#options;
    const url = `${sidecar}/v1/cache/${namespace}/1`;
    const { status, headers, body } = await this.#call('GET', url);
    if (status === 200) {
      const lsn = parseLsn(String(headers['tidemark-lsn'] ?? '0/0'));
      if (lsn > 0) this.seen.set(lsn, Math.min(Number(body), this.seen.get(lsn) ?? Number(body)));
      return;
    }
    if (status !== 404) throw new Error(`the sidecar answered ${status}`);
    const value = await this.#call('GET', `${origin}/${namespace}/1`);
    const lease = headers['tidemark-lease'];
    if (typeof lease === 'string' && value.status === 200)
      await this.#call('PUT', url, { 'tidemark-lease': lease, 'content-type': 'text/plain' }, value.body);
  }

  #call(
    method: string,
    url: string,
    headers: Readonly<Record<string, string>> = {},
    body = '',
  ): Promise<{ status: number; headers: IncomingHttpHeaders; body: string }> {
    return new Promise((resolve, reject) => {
      const length = { 'content-length': String(Buffer.byteLength(body)) };
      const sent = httpRequest(url, { method, agent: this.#agent, headers: { ...headers, ...length } });
      sent.on('error', reject).on('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('error', reject).on('end', () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
        });
      });
      sent.end(body);
    });
  }
}

export interface ReadersOptions {
  /** URL of the sidecar that they ask. */
  readonly sidecar: string;
  /** URL of what they load from. */
  readonly origin: string;
  readonly namespace: string;
  readonly count: number;
  readonly thinkMs: number;
}
