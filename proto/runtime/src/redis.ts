import { createHash } from 'node:crypto';
import { Cluster, Redis, ReplyError, type RedisOptions } from 'ioredis';
import { DeadlineError, Deadlines } from './deadline.ts';
import { InFlight } from './in-flight.ts';
import type { Logger } from './logger.ts';
import { parseRedisUrl, type RedisTarget } from './redis-url.ts';
import { Refusals } from './refusals.ts';
import type { TlsIdentity } from './tls-files.ts';

/** Redis cannot be asked at the moment, or the connection ended before it answered. */
export class RedisUnavailableError extends Error {
  override name = 'RedisUnavailableError';
}

/** A Lua script and the digest that names it on the server. */
export interface RedisScript {
  readonly source: string;
  readonly sha1: string;
}

export function redisScript(source: string): RedisScript {
  return { source, sha1: createHash('sha1').update(source).digest('hex') };
}

export type RedisArgument = string | number | Buffer;

/**
 * Commands to Redis that never wait longer than the deadline. Nothing is queued while Redis is away: commands reject at
 * once. An answer may be missing although the command was done.
 */
export interface RedisClient {
  /** Whether commands are sent; false while there is no connection, or while Redis does not answer in time. */
  readonly isUp: boolean;
  /** One command; bulk strings are Buffers. Rejects with the server's error, {@link DeadlineError} or {@link RedisUnavailableError}. */
  command(name: string, ...args: readonly RedisArgument[]): Promise<unknown>;
  /** A script by its digest, or whole where the server does not know it; keys must share a slot. */
  script(script: RedisScript, keys: readonly RedisArgument[], args: readonly RedisArgument[]): Promise<unknown>;
  /** Cuts the connections. */
  close(): void;
}

export interface RedisClientOptions {
  /** For every command of ours. */
  readonly deadlineMs: number;
  readonly logger: Logger;
  /** For a URL of TLS; without authorities of its own, the system's and NODE_EXTRA_CA_CERTS decide whom to trust. */
  readonly tls?: TlsIdentity | undefined;
  /** Commands without an answer at any time, so that a Redis that is silent cannot fill our memory. */
  readonly maxInFlight?: number;
  /** Told whenever {@link RedisClient.isUp} changes. */
  readonly onChange?: (isUp: boolean) => void;
}

/** So many deadlines in a row mean that Redis is away, whatever the socket says: further commands then reject at once. */
const MAX_MISSED_DEADLINES = 5;
/** While Redis is taken for away, one command in this time is let through to see. */
const PROBE_EVERY_MS = 100;
/** Of values in commands without an answer: a Redis that reads slowly must not fill our memory. */
const MAX_IN_FLIGHT_BYTES = 64 * 1024 * 1024;
/** A server that takes no writes is left no more often than this: where no other one is to be had, its reads go on. */
const LEAVE_READONLY_EVERY_MS = 5_000;

/** Connects in the background, for ever: a Redis that is away costs nothing but the rejected commands. Throws for a malformed URL. */
export function createRedis(url: string, options: RedisClientOptions): RedisClient {
  const { deadlineMs, logger, maxInFlight = 10_000, onChange } = options;
  const connection = connect(parseRedisUrl(url), options);
  const deadlines = new Deadlines('Redis', deadlineMs);
  const lifeMs = 2 * socketTimeoutMs(deadlineMs);
  const inFlight = new InFlight({ most: maxInFlight, mostBytes: MAX_IN_FLIGHT_BYTES, lifeMs });
  let missed = 0;
  let probedAt = 0;
  let wasUp = false;
  let lastError = '';
  let isClosed = false;
  const refusals = new Refusals('Redis', logger);

  const isUp = (): boolean => connection.status === 'ready' && missed < MAX_MISSED_DEADLINES;
  const noteChange = (): void => {
    if (isUp() === wasUp || isClosed) return;
    wasUp = !wasUp;
    if (wasUp) logger.info('Redis answers');
    else logger.warn({ reason: missed >= MAX_MISSED_DEADLINES ? 'no answers' : connection.status }, 'Redis is away');
    onChange?.(wasUp);
  };
  // Without a listener an error would end the process. Every attempt fails alike, so the same message is told once.
  connection.on('error', (error: Error) => {
    withoutArguments(error);
    if (error.message !== lastError) logger.warn({ err: error }, 'the connection to Redis failed');
    lastError = error.message;
  });
  connection.on('ready', () => {
    missed = 0;
    lastError = '';
    noteChange();
  });
  connection.on('close', noteChange);

  /** Also late answers and errors of the server show that it is there. */
  const answered = (): void => {
    if (missed === 0) return;
    missed = 0;
    noteChange();
  };
  const command = async (name: string, ...args: readonly RedisArgument[]): Promise<unknown> => {
    if (connection.status !== 'ready')
      throw new RedisUnavailableError(`there is no connection to Redis (${connection.status})`);
    if (missed >= MAX_MISSED_DEADLINES) {
      const now = performance.now();
      if (now - probedAt < PROBE_EVERY_MS) throw new RedisUnavailableError('Redis does not answer');
      probedAt = now;
    }
    const end = inFlight.enter(bytesOf(args), performance.now());
    if (end === undefined) throw new RedisUnavailableError(`${inFlight.count} commands to Redis are not answered yet`);
    const sent = connection.callBuffer(name, ...args);
    const settled = (error?: unknown): void => {
      end();
      if (error === undefined || error instanceof ReplyError) answered();
    };
    sent.then(() => settled(), settled);
    try {
      return await deadlines.race(sent);
    } catch (error) {
      if (error instanceof DeadlineError) {
        missed += 1;
        noteChange();
      }
      withoutArguments(error);
      if (error instanceof ReplyError) {
        if (!isScriptUnknown(error)) refusals.note(name, (error as Error).message, performance.now());
      } else if (!(error instanceof DeadlineError)) throw new RedisUnavailableError(String(error), { cause: error });
      throw error;
    }
  };

  return {
    get isUp() {
      return isUp();
    },
    command,
    async script(script, keys, args) {
      try {
        return await command('EVALSHA', script.sha1, keys.length, ...keys, ...args);
      } catch (error) {
        if (!isScriptUnknown(error)) throw error;
        return command('EVAL', script.source, keys.length, ...keys, ...args);
      }
    },
    close() {
      isClosed = true;
      connection.disconnect();
    },
  };
}

/** Longer than any command of ours is waited for. */
function socketTimeoutMs(deadlineMs: number): number {
  return Math.max(1000, 4 * deadlineMs);
}

/** Of what may be large: values. */
function bytesOf(args: readonly RedisArgument[]): number {
  let bytes = 0;
  for (const arg of args) if (typeof arg === 'object') bytes += arg.length;
  return bytes;
}

/** That belongs to the protocol: the script is sent whole then. */
function isScriptUnknown(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}

/**
 * A cluster sends ASKING before what belongs to a slot on its way, and looks at the answer to neither but the latter's. A promise that nobody
 * looks at would end the process when the connection does.
 */
function heedAsking(node: Redis): void {
  const asking = node.asking.bind(node);
  node.asking = () => {
    const sent = asking();
    sent.catch(() => undefined);
    return sent;
  };
}

/** ioredis attaches the whole command to its errors; a log must neither have the password of AUTH nor what is cached. */
function withoutArguments(error: unknown): void {
  if (!(error instanceof Error)) return;
  if ('command' in error) delete error.command;
  // Of a cluster none of whose nodes could be asked.
  if ('lastNodeError' in error) withoutArguments(error.lastNodeError);
}

function connect(target: RedisTarget, { deadlineMs, tls: identity = {} }: RedisClientOptions): Redis | Cluster {
  const retryStrategy = (attempt: number): number =>
    Math.min(50 * 2 ** Math.min(attempt, 6), 2000) * (0.5 + Math.random() / 2);
  const tls = target.tls ? { tls: identity } : {};
  let leftReadonlyAtMs = Number.NEGATIVE_INFINITY;
  const common = {
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
    ...tls,
    // RESP3 brings nothing here, and some proxies do not speak it.
    protocol: 2,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 1,
    connectTimeout: 2000,
    // A server that stopped answering is left for a fresh connection; commands are rejected much sooner.
    socketTimeout: socketTimeoutMs(deadlineMs),
    // A master that became a replica answers READONLY: connect again, which finds the new master.
    reconnectOnError: ({ message }: Error) => {
      const nowMs = performance.now();
      if (!message.startsWith('READONLY') || nowMs - leftReadonlyAtMs < LEAVE_READONLY_EVERY_MS) return false;
      leftReadonlyAtMs = nowMs;
      return 1;
    },
    retryStrategy,
  } satisfies RedisOptions;
  if (target.kind === 'cluster') {
    const cluster = new Cluster([...target.nodes], {
      enableOfflineQueue: false,
      redisOptions: common,
      ...(target.tls ? { dnsLookup: (host, callback) => callback(null, host) } : {}),
      clusterRetryStrategy: retryStrategy,
      clusterNodeRetryStrategy: retryStrategy,
      maxRedirections: 4,
      retryDelayOnFailover: 50,
      retryDelayOnClusterDown: 50,
      retryDelayOnTryAgain: 50,
      slotsRefreshTimeout: 2000,
    });
    cluster.on('+node', heedAsking);
    return cluster;
  }
  if (target.kind === 'sentinel') {
    return new Redis({
      ...common,
      sentinels: [...target.nodes],
      name: target.master,
      db: target.db,
      sentinelRetryStrategy: retryStrategy,
      failoverDetector: true,
      ...(target.tls ? { enableTLSForSentinelMode: true, sentinelTLS: identity } : {}),
    });
  }
  const node = target.nodes[0] as { host: string; port: number };
  return new Redis({ ...common, host: node.host, port: node.port, db: target.db });
}
