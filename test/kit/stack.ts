import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import pg from 'pg';
import { KitError } from './error.ts';
import type { ProcessEvent } from './managed.ts';
import { claimRedisDatabase, createDatabase, createTopic, deleteTopic, dropDatabase, returnRedisDatabase, uniqueWord, withPostgres } from './names.ts';
import { freePort } from './ports.ts';
import { scratchFolder } from './scratch.ts';
import { type Servers, type ServersOptions, startServers } from './servers.ts';
import { type Role, type TidemarkProcess, tidemarkProcess } from './tidemark.ts';

/** The shared configuration file, as far as the kit looks into it. */
export interface StackConfig {
  readonly sources?: Readonly<Record<string, { readonly topic?: string }>>;
  readonly namespaces?: Readonly<Record<string, unknown>>;
  readonly [other: string]: unknown;
}

type Environment = Readonly<Record<string, string>>;

export interface StackOptions {
  /** The configuration: its YAML text, or the object. `sources` may be left out: one source, `main`. */
  readonly config: string | StackConfig;
  /** How many sidecars (default 1). */
  readonly sidecars?: number;
  /** Whether `invalidator run` is there (default true). */
  readonly invalidator?: boolean;
  /** Whether `invalidator apply` is there (default true). */
  readonly applier?: boolean;
  /** Whether sidecars and applier get a Redis (default true). */
  readonly redis?: boolean;
  /** SQL to run in the database before anything of ours starts. */
  readonly initSql?: string;
  /** More environment for all processes of a role. */
  readonly env?: Partial<Readonly<Record<Role, Environment>>>;
  /** Settings of the topic, as `retention.ms` or `segment.ms`. */
  readonly topicSettings?: Readonly<Record<string, string>>;
  /** Whether our processes are started again when they die (default true). */
  readonly supervise?: boolean;
  /** Whether the stack gets a database, topic, slot, group and Redis database of its own (default true). Without: the names in the configuration. */
  readonly isolated?: boolean;
  /** Prepares everything but starts no process of ours; each is started by its `start` (default false). */
  readonly prepareOnly?: boolean;
  readonly onEvent?: (event: ProcessEvent) => void;
}

/** A process that serves HTTP: `url` is `http://127.0.0.1:PORT`, the same over restarts. */
export interface ServiceHandle extends TidemarkProcess {
  readonly url: string;
}

export interface SidecarHandle extends ServiceHandle {
  /** Path of the Unix socket that serves the same. */
  readonly socket: string;
  /** URL of probes, metrics and status. */
  readonly admin: string;
}

export interface Stack {
  readonly servers: Servers;
  /** The configuration in force, and the file that holds it. */
  readonly config: StackConfig;
  readonly configFile: string;
  readonly source: string;
  readonly topic: string;
  readonly slot: string;
  readonly publication: string;
  /** URL of the stack's database. */
  readonly postgres: string;
  /** URL of the stack's Redis database. */
  readonly redis: string;
  readonly brokers: readonly string[];
  readonly invalidator: ServiceHandle;
  readonly applier: ServiceHandle;
  readonly sidecars: readonly SidecarHandle[];
  /** Runs one statement (or several, without values) in the stack's database. */
  sql<Row extends pg.QueryResultRow = pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Starts one more sidecar, with environment of its own; settles when it is ready. */
  addSidecar(env?: Environment): Promise<SidecarHandle>;
  /** The environment that the stack gives to a process of a role: for a process that a test starts itself. */
  environmentOf(role: Role): Environment;
  /** The newest log lines of a process: `invalidator`, `applier`, `sidecar-0`, … or, without a name, of all. */
  logs(name?: string): string[];
  stop(): Promise<void>;
}

function readConfig(given: string | StackConfig): StackConfig {
  const value: unknown = typeof given === 'string' ? parse(given) : given;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new KitError('the configuration is not a YAML mapping.');
  return value as StackConfig;
}

function onlySource(config: StackConfig): { source: string; topic: string } {
  const sources = Object.entries(config.sources ?? { main: {} });
  const [first] = sources;
  if (first === undefined || sources.length > 1) throw new KitError(`the configuration has ${sources.length} sources; a stack follows exactly one.`);
  return { source: first[0], topic: first[1]?.topic ?? `tidemark.${first[0]}` };
}

/** Starts our processes over servers that are there. */
export async function createStack(servers: Servers, options: StackOptions): Promise<Stack> {
  const { isolated = true, redis: withRedis = true, supervise = true, onEvent } = options;
  const word = uniqueWord();
  const given = readConfig(options.config);
  const named = onlySource(given);
  const { source } = named;
  const topic = isolated ? `tidemark.${word}` : named.topic;
  const slot = isolated ? `tidemark_${word}` : `tidemark_${source}`;
  const publication = `tidemark_${source}`;
  const config: StackConfig = { ...given, sources: { [source]: { ...given.sources?.[source], topic } } };
  const scratch = scratchFolder('stack');
  const configFile = join(scratch.path, 'tidemark.yaml');
  await writeFile(configFile, stringify(config));

  const undo: (() => Promise<unknown>)[] = [() => scratch.remove()];
  const processes: ServiceHandle[] = [];
  const sidecars: SidecarHandle[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(processes.map((handle) => handle.stop()));
    await pool?.end().catch(() => undefined);
    const results = await Promise.allSettled(undo.map((step) => step()));
    for (const result of results) if (result.status === 'rejected') throw result.reason as Error;
  };
  let pool: pg.Pool | undefined;

  try {
    const [postgres, redis] = await Promise.all([
      isolated ? createDatabase(servers, word) : servers.postgres.url,
      isolated && withRedis ? claimRedisDatabase(servers) : servers.redis.url,
      createTopic(servers, topic, options.topicSettings ?? {}),
    ]);
    if (isolated) {
      undo.push(() => dropDatabase(servers, word), () => deleteTopic(servers, topic));
      if (withRedis) undo.push(() => returnRedisDatabase(redis));
    }
    if (options.initSql !== undefined) {
      const { initSql } = options;
      await withPostgres(postgres, (client) => client.query(initSql)).catch((error: Error) => {
        throw new KitError(`the SQL to begin with failed: ${error.message}.`);
      });
    }
    pool = new pg.Pool({ connectionString: postgres, max: 8, allowExitOnIdle: true });
    pool.on('error', () => undefined); // idle connections die with a server that a test kills

    const ports = { invalidator: await freePort(), applier: await freePort() };
    const urls = { invalidator: `http://127.0.0.1:${ports.invalidator}`, applier: `http://127.0.0.1:${ports.applier}` };
    const common = { TIDEMARK_CONFIG: configFile, TIDEMARK_KAFKA_BROKERS: servers.kafka.brokers.join(',') };
    const environments: Record<Role, Environment> = {
      invalidator: {
        ...common,
        TIDEMARK_POSTGRES_URL: postgres,
        TIDEMARK_SLOT: slot,
        TIDEMARK_PUBLICATION: publication,
        TIDEMARK_HTTP_LISTEN: `127.0.0.1:${ports.invalidator}`,
        ...options.env?.invalidator,
      },
      applier: {
        ...common,
        TIDEMARK_REDIS_URL: redis,
        TIDEMARK_GROUP: `tidemark-applier-${isolated ? word : source}`,
        TIDEMARK_HTTP_LISTEN: `127.0.0.1:${ports.applier}`,
        ...options.env?.applier,
      },
      sidecar: { ...common, ...(withRedis && { TIDEMARK_REDIS_URL: redis }), TIDEMARK_INVALIDATOR_URL: urls.invalidator, ...options.env?.sidecar },
    };
    const service = <T extends { url: string }>(role: Role, name: string, env: Environment, address: T): ServiceHandle & T => {
      const handle = Object.assign(tidemarkProcess({ role, name, env, supervise, onEvent }), address);
      processes.push(handle);
      return handle;
    };
    const newSidecar = async (env: Environment = {}): Promise<SidecarHandle> => {
      const name = `sidecar-${sidecars.length}`;
      const [port, adminPort] = [await freePort(), await freePort()];
      const socket = join(scratch.path, `${name}.sock`);
      const listen = { TIDEMARK_LISTEN: `127.0.0.1:${port}`, TIDEMARK_ADMIN_LISTEN: `127.0.0.1:${adminPort}`, TIDEMARK_SOCKET: socket };
      const address = { url: `http://127.0.0.1:${port}`, admin: `http://127.0.0.1:${adminPort}`, socket };
      const sidecar = service('sidecar', name, { ...environments.sidecar, ...listen, ...env }, address);
      sidecars.push(sidecar);
      return sidecar;
    };

    const invalidator = service('invalidator', 'invalidator', environments.invalidator, { url: urls.invalidator });
    const applier = service('applier', 'applier', environments.applier, { url: urls.applier });
    for (let index = 0; index < (options.sidecars ?? 1); index += 1) await newSidecar();
    if (options.prepareOnly !== true) {
      const wanted = [...(options.invalidator === false ? [] : [invalidator]), ...(options.applier === false || !withRedis ? [] : [applier]), ...sidecars];
      await Promise.all(wanted.map((handle) => handle.start()));
    }

    const { rows } = pooled(pool);
    return {
      servers,
      config,
      configFile,
      source,
      topic,
      slot,
      publication,
      postgres,
      redis,
      brokers: servers.kafka.brokers,
      invalidator,
      applier,
      sidecars,
      sql: rows,
      addSidecar: async (env) => {
        const sidecar = await newSidecar(env);
        await sidecar.start();
        return sidecar;
      },
      environmentOf: (role) => environments[role],
      logs: (name) => processes.filter((handle) => name === undefined || handle.name === name).flatMap((handle) => handle.logs().map((line) => (name === undefined ? `${handle.name} ${line}` : line))),
      stop,
    };
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
}

function pooled(pool: pg.Pool) {
  return {
    rows: async <Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]> => {
      const result = values === undefined ? await pool.query<Row>(text) : await pool.query<Row>(text, values);
      return result.rows;
    },
  };
}

/** Starts servers and our processes over them; `stop` ends both. For tests that end servers, the demo and `npm run stack`. */
export async function startStack(options: StackOptions & { readonly servers?: ServersOptions }): Promise<Stack> {
  const { onEvent, supervise = true } = options;
  const servers = await startServers({ supervise, ...(onEvent && { onEvent }), ...options.servers });
  try {
    const stack = await createStack(servers, options);
    return {
      ...stack,
      stop: async () => {
        // What is in servers of our own goes with them; only somebody else's need to be tidied up.
        await stack.stop().finally(() => servers.stop());
      },
    };
  } catch (error) {
    await servers.stop();
    throw error;
  }
}
