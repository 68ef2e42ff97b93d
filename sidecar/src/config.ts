import { parseArgs } from 'node:util';
import { MAX_WRITES_TOPIC_CHARS, parseSizeBytes } from '@tidemark/proto';
import {
  duration,
  followerEnv,
  helpText,
  memcachedUrl,
  optional,
  parseListenAddress,
  postgresUrl,
  readEnv,
  redisTlsEnv,
  redisTlsOf,
  redisUrl,
  resolveFollower,
  SettingError,
  text,
  topicName,
  withDefault,
  type EnvOf,
  type FollowerConfig,
  type TlsIdentity,
} from '@tidemark/runtime';
import { beyondMemcached } from './core/backend-limits.ts';

/** As much as the smallest namespace has; and more than any machine. */
const MIN_L1_BYTES = 64 * 1024;
const MAX_L1_BYTES = 1024 ** 4;

const spec = {
  ...followerEnv,
  namespaces: optional('TIDEMARK_NAMESPACES', {
    description: 'namespaces of the document that are served, divided by commas; default: all of the source',
    parse: names,
  }),
  redisUrl: optional('TIDEMARK_REDIS_URL', {
    description: 'redis://, rediss://, redis+sentinel://h:p,h:p/master or redis+cluster://h:p,h:p; default: no L2',
    parse: redisUrl,
    secret: true,
  }),
  ...redisTlsEnv,
  redisDeadlineMs: withDefault('TIDEMARK_REDIS_DEADLINE', '50ms', {
    description: 'longest that a read or a fill waits for Redis',
    parse: duration({ min: '1ms', max: '10s' }),
  }),
  memcachedUrl: optional('TIDEMARK_MEMCACHED_URL', {
    description: 'memcached://h:p,h:p[/prefix], instead of Redis',
    parse: memcachedUrl,
    secret: true,
  }),
  memcachedDeadlineMs: withDefault('TIDEMARK_MEMCACHED_DEADLINE', '50ms', {
    description: 'longest that a read or a fill waits for memcached',
    parse: duration({ min: '1ms', max: '10s' }),
  }),
  memcachedMaxItemBytes: withDefault('TIDEMARK_MEMCACHED_MAX_ITEM', '1MiB', {
    description: 'largest item that the servers take (their option -I); larger values are not shared',
    parse: itemSize,
  }),
  listen: withDefault('TIDEMARK_LISTEN', '127.0.0.1:7070', {
    description: 'address for applications',
    parse: parseListenAddress,
  }),
  socket: optional('TIDEMARK_SOCKET', { description: 'Unix socket for applications', parse: text }),
  socketMode: withDefault('TIDEMARK_SOCKET_MODE', '0660', { description: 'its mode', parse: octalMode }),
  adminListen: withDefault('TIDEMARK_ADMIN_LISTEN', '127.0.0.1:7071', {
    description: 'address for probes, metrics and status',
    parse: parseListenAddress,
  }),
  invalidatorUrl: optional('TIDEMARK_INVALIDATOR_URL', {
    description: 'where DELETE and purge are sent, and positions are asked for; default: the former are refused',
    parse: httpUrl,
  }),
  l1MaxBytes: optional('TIDEMARK_L1_MAX_BYTES', {
    description: 'memory that all namespaces may have together, such as 256MiB; default: the sum of their l1.maxBytes',
    parse: totalSize,
  }),
  l1MaxEntries: optional('TIDEMARK_L1_MAX_ENTRIES', {
    description: 'entries that they may have together; default: as many as fit',
    parse: totalCount,
  }),
  writesTopic: optional('TIDEMARK_WRITES_TOPIC', {
    description:
      'Kafka topic for writes of namespaces with writeBehind, as for tidemark flush; default: none are taken',
    parse: writesTopicName,
  }),
  loadUrl: optional('TIDEMARK_LOAD_URL', {
    description:
      'URL of the Postgres that namespaces with load.sql read, a primary or a standby; TLS: ?sslmode=verify-full&sslrootcert=FILE',
    parse: postgresUrl,
    secret: true,
  }),
  loadPool: withDefault('TIDEMARK_LOAD_POOL', '4', {
    description: 'connections to it, at most',
    parse: connections,
  }),
  writeUrl: optional('TIDEMARK_WRITE_URL', {
    description:
      'URL of the Postgres that namespaces with writeThrough write to by SQL, always a primary; TLS: ?sslmode=verify-full&sslrootcert=FILE',
    parse: postgresUrl,
    secret: true,
  }),
  writePool: withDefault('TIDEMARK_WRITE_POOL', '2', {
    description: 'connections to it, at most',
    parse: connections,
  }),
  maxStalenessMs: withDefault('TIDEMARK_MAX_STALENESS', '5s', {
    description: 'after so long without a record everything is a miss',
    parse: duration({ min: '1s', max: '1h' }),
  }),
  fetchIntervalMs: withDefault('TIDEMARK_FETCH_INTERVAL', '0ms', {
    description: 'shortest time between two fetches from Kafka while rows change all the time; spares the broker',
    parse: duration({ min: '0ms', max: '500ms' }),
  }),
  leaseTtlMs: withDefault('TIDEMARK_LEASE_TTL', '10s', {
    description: 'how long the lease of a miss can be filled',
    parse: duration({ min: '100ms', max: '10m' }),
  }),
  coalesceTimeoutMs: withDefault('TIDEMARK_COALESCE_TIMEOUT', '2s', {
    description: "longest that a read waits for another caller's fill",
    parse: duration({ min: '1ms', max: '1m' }),
  }),
  sessionTimeoutMs: withDefault('TIDEMARK_SESSION_TIMEOUT', '2s', {
    description: 'longest that a read waits for the position that its session, Tidemark-Min-Lsn or a snapshot demands',
    parse: duration({ min: '1ms', max: '1m' }),
  }),
};

type Own = Omit<EnvOf<typeof spec>, keyof typeof followerEnv>;

export type Config = FollowerConfig & Own & { readonly redisTls: TlsIdentity | undefined };

export const HELP = `Usage: node sidecar/src/main.ts [--config FILE] [--help]

Serves a coherent cache over HTTP from memory and Redis or memcached, and evicts what changes in Postgres.

Environment (--config FILE stands for TIDEMARK_CONFIG=FILE):
${helpText(spec)}
`;

/**
 * Arguments, environment and configuration file in one. Undefined when help was asked for. Throws an Error whose message
 * names everything that is wrong.
 */
export function readConfig(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Config | undefined {
  const { values } = parseArgs({
    args: [...argv],
    options: { config: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help === true) return undefined;
  const settings = readEnv(spec, values.config === undefined ? env : { ...env, TIDEMARK_CONFIG: values.config });
  if (settings.redisUrl !== undefined && settings.memcachedUrl !== undefined) {
    throw new SettingError(
      'TIDEMARK_REDIS_URL and TIDEMARK_MEMCACHED_URL: found both, expected one of them or none: a sidecar shares values through one backend',
    );
  }
  const follower = resolveFollower(settings);
  if (settings.memcachedUrl !== undefined && follower.origin.kind === 'file') {
    const issues = beyondMemcached(follower.origin.document, follower.origin.source);
    if (issues.length > 0) throw new SettingError(issues.join('\n'));
  }
  return Object.freeze({ ...settings, ...follower, redisTls: redisTlsOf(settings) });
}

function names(found: string): ReadonlySet<string> {
  const list = found.split(',').map((part) => part.trim());
  if (list.includes('')) throw new Error('expected names of namespaces, several divided by commas');
  return new Set(list);
}

function itemSize(found: string): number {
  const bytes = parseSizeBytes(found);
  if (bytes === undefined || bytes < 64 * 1024 || bytes > 64 * 1024 * 1024)
    throw new Error('expected a size from 64KiB to 64MiB');
  return bytes;
}

function writesTopicName(found: string): string {
  if (found.length > MAX_WRITES_TOPIC_CHARS)
    throw new Error(`expected at most ${MAX_WRITES_TOPIC_CHARS} characters: it stands in marks in the WAL`);
  return topicName(found);
}

function octalMode(found: string): number {
  if (!/^0?[0-7]{3}$/.test(found)) throw new Error('expected an octal mode such as 0660');
  return Number.parseInt(found, 8);
}

function totalSize(found: string): number {
  const bytes = parseSizeBytes(found);
  if (bytes === undefined || bytes < MIN_L1_BYTES || bytes > MAX_L1_BYTES)
    throw new Error('expected a size from 64KiB to 1024GiB, such as 256MiB');
  return bytes;
}

function totalCount(found: string): number {
  if (!/^[1-9]\d{0,8}$/.test(found)) throw new Error('expected a whole number from 1 to 999999999');
  return Number(found);
}

function connections(found: string): number {
  const count = /^\d{1,3}$/.test(found) ? Number(found) : 0;
  if (count < 1 || count > 100) throw new Error('expected a whole number from 1 to 100');
  return count;
}

function httpUrl(found: string): string {
  const protocol = URL.canParse(found) ? new URL(found).protocol : '';
  if (protocol !== 'http:' && protocol !== 'https:') throw new Error('expected an http:// or https:// URL');
  return found;
}
