import { join } from 'node:path';
import pg from 'pg';
import { KitError } from './error.ts';
import type { ProcessEvent, ProcessHandle } from './handle.ts';
import { deleteTopic, withPostgres } from './names.ts';
import { type Place, type StackConfig, makePlace } from './place.ts';
import { freePort } from './ports.ts';
import { scratchFolder } from './scratch.ts';
import { type Servers, type ServersOptions, startServers } from './servers.ts';
import { programOf, type Programs } from './programs.ts';
import { type Role, tidemarkProcess } from './tidemark.ts';

export type Environment = Readonly<Record<string, string>>;

export interface StackOptions {
  /** The configuration: its YAML text, or the object. `sources` may be left out: one source, `main`. */
  readonly config: string | StackConfig;
  /** The file that `config` was read from; used itself where the stack is not isolated, so that errors name it. */
  readonly configFile?: string;
  /** How many sidecars (default 1). */
  readonly sidecars?: number;
  /** Whether `invalidator run` is started (default true). */
  readonly invalidator?: boolean;
  /** Whether `invalidator apply` is started (default true). */
  readonly applier?: boolean;
  /** Whether `invalidator flush` is started (default: whether a namespace has `writeBehind`). */
  readonly flusher?: boolean;
  /** Whether sidecars get a Redis, and the applier is started (default true). */
  readonly redis?: boolean;
  /** SQL to run in the database before anything of ours starts. */
  readonly initSql?: string;
  /** More environment for all processes of a role; what depends on where the stack lives is asked for once that is known. */
  readonly env?: Partial<Readonly<Record<Role, Environment | ((place: Place) => Environment)>>>;
  /** Settings of the topic, as `retention.ms` or `segment.bytes`. */
  readonly topicSettings?: Readonly<Record<string, string>>;
  /** Whether our processes are started again when they die (default true). */
  readonly supervise?: boolean;
  /** Whether the stack gets a database, topic, slot, group and Redis database of its own (default true); else those of the configuration. */
  readonly isolated?: boolean;
  /** Prepares everything but starts no process of ours; each is started by its `start` (default false). */
  readonly prepareOnly?: boolean;
  /** The programs to run (default: bundles of the sources). */
  readonly programs?: Programs;
  readonly onEvent?: (event: ProcessEvent) => void;
  /** Sees each log line of our processes. */
  readonly onLine?: (name: string, line: string) => void;
}

/** A process that serves HTTP: `url` is `http://127.0.0.1:PORT`, the same over restarts. */
export interface ServiceHandle extends ProcessHandle {
  readonly url: string;
}

export interface SidecarHandle extends ServiceHandle {
  /** Path of the Unix socket that serves the same. */
  readonly socket: string;
  /** URL of probes, metrics and status. */
  readonly admin: string;
}

/** Our processes over servers, and where in the servers they live. */
export interface Stack extends Omit<Place, 'remove'> {
  readonly servers: Servers;
  readonly brokers: readonly string[];
  readonly invalidator: ServiceHandle;
  readonly applier: ServiceHandle;
  readonly flusher: ServiceHandle;
  /** Where writes of namespaces with `writeBehind` wait. */
  readonly writesTopic: string;
  readonly sidecars: readonly SidecarHandle[];
  /** Runs one statement (or, without values, several) in the stack's database. */
  sql<Row extends pg.QueryResultRow = pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Starts one more sidecar, with environment of its own; settles when it is ready. */
  addSidecar(env?: Environment): Promise<SidecarHandle>;
  /** The newest log lines of a process (`invalidator`, `applier`, `flusher`, `sidecar-0`, …) or of all, each with its name. */
  logs(name?: string): string[];
  stop(): Promise<void>;
}

function environments(
  place: Place,
  options: StackOptions,
  addresses: { brokers: readonly string[]; invalidator: string; applier: string; flusher: string },
): Record<Exclude<Role, 'webhook'>, Environment> {
  const common = { TIDEMARK_CONFIG: place.configFile, TIDEMARK_KAFKA_BROKERS: addresses.brokers.join(',') };
  const given = (role: Role): Environment | undefined => {
    const env = options.env?.[role];
    return typeof env === 'function' ? env(place) : env;
  };
  return {
    invalidator: {
      ...common,
      TIDEMARK_POSTGRES_URL: place.postgres,
      TIDEMARK_SLOT: place.slot,
      TIDEMARK_PUBLICATION: place.publication,
      TIDEMARK_HTTP_LISTEN: addresses.invalidator,
      ...given('invalidator'),
    },
    applier: {
      ...common,
      TIDEMARK_REDIS_URL: place.redis,
      TIDEMARK_GROUP: place.group,
      TIDEMARK_HTTP_LISTEN: addresses.applier,
      ...given('applier'),
    },
    flusher: {
      ...common,
      TIDEMARK_POSTGRES_URL: place.postgres,
      TIDEMARK_WRITES_TOPIC: writesTopicOf(place),
      TIDEMARK_HTTP_LISTEN: addresses.flusher,
      ...given('flusher'),
    },
    sidecar: {
      ...common,
      TIDEMARK_WRITES_TOPIC: writesTopicOf(place),
      ...(options.redis !== false && { TIDEMARK_REDIS_URL: place.redis }),
      TIDEMARK_INVALIDATOR_URL: `http://${addresses.invalidator}`,
      TIDEMARK_LOAD_URL: place.postgres,
      TIDEMARK_WRITE_URL: place.postgres,
      ...given('sidecar'),
    },
  };
}

function writesTopicOf({ topic }: Pick<Place, 'topic'>): string {
  return `${topic}.writes`;
}

function takesWrites(config: string | StackConfig): boolean {
  return JSON.stringify(config).includes('writeBehind');
}

async function freeAddress(): Promise<string> {
  return `127.0.0.1:${await freePort()}`;
}

/** Starts our processes over servers that are there. */
export async function createStack(servers: Servers, options: StackOptions): Promise<Stack> {
  const { isolated = true, redis: withRedis = true, supervise = true, topicSettings = {}, onEvent, onLine } = options;
  const scratch = scratchFolder('stack');
  const processes: ServiceHandle[] = [];
  const cleanups: (() => Promise<unknown>)[] = [() => scratch.remove()];
  const stop = async (): Promise<void> => {
    await Promise.all(processes.map((handle) => handle.stop()));
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  };
  try {
    const place = await makePlace(servers, {
      config: options.config,
      configFile: options.configFile,
      isolated,
      withRedis,
      topicSettings,
      folder: scratch.path,
    });
    cleanups.push(() => place.remove());
    if (options.initSql !== undefined) await runSql(place.postgres, options.initSql);
    const pool = new pg.Pool({ connectionString: place.postgres, max: 8, allowExitOnIdle: true });
    pool.on('error', () => undefined); // idle connections end with a server that a test kills
    cleanups.push(() => pool.end());

    const addresses = {
      invalidator: await freeAddress(),
      applier: await freeAddress(),
      flusher: await freeAddress(),
    };
    const envs = environments(place, options, { brokers: servers.kafka.brokers, ...addresses });
    const service = async <T extends { url: string }>(
      spec: { role: Role; name: string; env: Environment },
      address: T,
    ): Promise<ServiceHandle & T> => {
      const handle = Object.assign(
        await tidemarkProcess({ ...spec, supervise, onEvent, programs: options.programs }),
        address,
      );
      if (onLine !== undefined) handle.log.subscribe((line) => onLine(spec.name, line));
      processes.push(handle);
      return handle;
    };
    const sidecars: SidecarHandle[] = [];
    const newSidecar = async (env: Environment = {}): Promise<SidecarHandle> => {
      const name = `sidecar-${sidecars.length}`;
      const [listen, admin, socket] = [await freeAddress(), await freeAddress(), join(scratch.path, `${name}.sock`)];
      const bind = { TIDEMARK_LISTEN: listen, TIDEMARK_ADMIN_LISTEN: admin, TIDEMARK_SOCKET: socket };
      const sidecar = await service(
        { role: 'sidecar', name, env: { ...envs.sidecar, ...bind, ...env } },
        { url: `http://${listen}`, admin: `http://${admin}`, socket },
      );
      sidecars.push(sidecar);
      return sidecar;
    };

    const invalidator = await service(
      { role: 'invalidator', name: 'invalidator', env: envs.invalidator },
      { url: `http://${addresses.invalidator}` },
    );
    const applier = await service(
      { role: 'applier', name: 'applier', env: envs.applier },
      { url: `http://${addresses.applier}` },
    );
    const flusher = await service(
      { role: 'flusher', name: 'flusher', env: envs.flusher },
      { url: `http://${addresses.flusher}` },
    );
    const flushes = options.flusher ?? takesWrites(options.config);
    const writesTopic = writesTopicOf(place);
    if (flushes && !servers.kafka.owned) cleanups.push(() => deleteTopic(servers, writesTopic));
    for (let count = options.sidecars ?? 1; count > 0; count -= 1) await newSidecar();
    if (options.prepareOnly !== true) {
      const first = options.invalidator === false ? [] : [invalidator];
      const second = options.applier === false || !withRedis ? [] : [applier];
      const third = flushes ? [flusher] : [];
      await Promise.all([...first, ...second, ...third, ...sidecars].map((handle) => handle.start()));
    }
    return {
      ...place,
      servers,
      brokers: servers.kafka.brokers,
      invalidator,
      applier,
      flusher,
      writesTopic,
      sidecars,
      sql: async (text, values) =>
        (values === undefined ? await pool.query(text) : await pool.query(text, values)).rows,
      addSidecar: async (env) => {
        const sidecar = await newSidecar(env);
        await sidecar.start();
        return sidecar;
      },
      logs: (name) =>
        name === undefined
          ? processes.flatMap((handle) => handle.logs().map((line) => `${handle.name} ${line}`))
          : processes.filter((handle) => handle.name === name).flatMap((handle) => handle.logs()),
      stop,
    };
  } catch (error) {
    await stop().catch(() => undefined); // the first failure is the one to tell
    throw error;
  }
}

async function runSql(url: string, sql: string): Promise<void> {
  try {
    await withPostgres(url, (client) => client.query(sql));
  } catch (error) {
    throw new KitError(`the SQL to begin with failed: ${(error as Error).message}.`);
  }
}

/** Starts servers and our processes over them; `stop` ends both. For tests that end servers, the demo and `npm run stack`. */
export async function startStack(options: StackOptions & { readonly servers?: ServersOptions }): Promise<Stack> {
  const { onEvent, supervise = true } = options;
  // Bundled while the servers start; a failure is told by the first that needs the program.
  void Promise.allSettled([programOf('sidecar'), programOf('invalidator')]);
  const servers = await startServers({ supervise, ...(onEvent && { onEvent }), ...options.servers });
  try {
    const stack = await createStack(servers, options);
    const stop = async (): Promise<void> => {
      try {
        await stack.stop();
      } finally {
        await servers.stop();
      }
    };
    return { ...stack, stop };
  } catch (error) {
    await servers.stop();
    throw error;
  }
}
