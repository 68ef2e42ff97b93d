import { parseArgs } from 'node:util';
import {
  duration,
  flag,
  helpText,
  hostPorts,
  loadConfigFile,
  LOG_LEVELS,
  oneOf,
  optional,
  parseListenAddress,
  readEnv,
  required,
  text,
  withDefault,
  type EnvOf,
  type KafkaOptions,
} from '@tidemark/runtime';
import type { SourceConfig, TidemarkConfig } from '@tidemark/proto';
import { hostname } from 'node:os';

const spec = {
  configFile: required('TIDEMARK_CONFIG', { description: 'YAML file with sources and namespaces', parse: text }),
  source: optional('TIDEMARK_SOURCE', {
    description: 'source to follow; default: the only one in the file',
    parse: text,
  }),
  brokers: required('TIDEMARK_KAFKA_BROKERS', { description: 'Kafka brokers, host:port,...', parse: hostPorts }),
  kafkaTls: withDefault('TIDEMARK_KAFKA_TLS', 'false', { description: 'TLS to Kafka', parse: flag }),
  saslMechanism: optional('TIDEMARK_KAFKA_SASL_MECHANISM', {
    description: 'plain, scram-sha-256 or scram-sha-512',
    parse: oneOf('plain', 'scram-sha-256', 'scram-sha-512'),
  }),
  saslUsername: optional('TIDEMARK_KAFKA_SASL_USERNAME', { description: 'user at Kafka', parse: text }),
  saslPassword: optional('TIDEMARK_KAFKA_SASL_PASSWORD', {
    description: 'password at Kafka',
    parse: text,
    secret: true,
  }),
  redisUrl: optional('TIDEMARK_REDIS_URL', {
    description: 'redis://, rediss://, redis+sentinel://h:p,h:p/master or redis+cluster://h:p,h:p; default: no L2',
    parse: text,
    secret: true,
  }),
  redisDeadlineMs: withDefault('TIDEMARK_REDIS_DEADLINE', '50ms', {
    description: 'longest that a read or a fill waits for Redis',
    parse: duration({ min: '1ms', max: '10s' }),
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
    description: 'where DELETE and purge are sent; default: they are refused',
    parse: httpUrl,
  }),
  maxStalenessMs: withDefault('TIDEMARK_MAX_STALENESS', '5s', {
    description: 'after so long without a record everything is a miss',
    parse: duration({ min: '1s', max: '1h' }),
  }),
  leaseTtlMs: withDefault('TIDEMARK_LEASE_TTL', '10s', {
    description: 'how long the lease of a miss can be filled',
    parse: duration({ min: '100ms', max: '10m' }),
  }),
  coalesceTimeoutMs: withDefault('TIDEMARK_COALESCE_TIMEOUT', '2s', {
    description: "longest that a read waits for another caller's fill",
    parse: duration({ min: '1ms', max: '1m' }),
  }),
  instance: withDefault('TIDEMARK_INSTANCE', `${hostname()}-${process.pid}`, {
    description: 'name in logs',
    parse: text,
  }),
  logLevel: withDefault('TIDEMARK_LOG_LEVEL', 'info', {
    description: LOG_LEVELS.join(', '),
    parse: oneOf(...LOG_LEVELS),
  }),
};

export interface Config extends EnvOf<typeof spec> {
  readonly document: TidemarkConfig;
  readonly source: string;
  readonly sourceConfig: SourceConfig;
}

export const HELP = `Usage: node sidecar/src/main.ts [--config FILE] [--help]

Serves a coherent cache over HTTP from memory and Redis, and evicts what changes in Postgres.

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
  const sasl = [settings.saslMechanism, settings.saslUsername, settings.saslPassword];
  if (sasl.includes(undefined) && sasl.some((value) => value !== undefined)) {
    throw new Error('TIDEMARK_KAFKA_SASL_MECHANISM, _USERNAME and _PASSWORD: expected all of them or none');
  }
  const document = loadConfigFile(settings.configFile);
  const source = chooseSource(document, settings.source);
  return Object.freeze({ ...settings, document, source, sourceConfig: document.sources[source] as SourceConfig });
}

function chooseSource(document: TidemarkConfig, wanted: string | undefined): string {
  const names = Object.keys(document.sources);
  if (wanted === undefined) {
    if (names.length === 1) return names[0] as string;
    throw new Error(`TIDEMARK_SOURCE: found nothing, expected one of the sources in the file: ${names.join(', ')}`);
  }
  if (names.includes(wanted)) return wanted;
  throw new Error(
    `TIDEMARK_SOURCE: found ${JSON.stringify(wanted)}, expected one of the sources in the file: ${names.join(', ')}`,
  );
}

function octalMode(found: string): number {
  if (!/^0?[0-7]{3}$/.test(found)) throw new Error('expected an octal mode such as 0660');
  return Number.parseInt(found, 8);
}

function httpUrl(found: string): string {
  const protocol = URL.canParse(found) ? new URL(found).protocol : '';
  if (protocol !== 'http:' && protocol !== 'https:') throw new Error('expected an http:// or https:// URL');
  return found;
}

type KafkaSettings = Pick<KafkaOptions, 'brokers' | 'tls' | 'sasl'>;

export function kafkaOptionsOf(config: Config): KafkaSettings {
  const { brokers, kafkaTls: tls, saslMechanism: mechanism, saslUsername: username, saslPassword: password } = config;
  if (mechanism === undefined) return { brokers, tls };
  return { brokers, tls, sasl: { mechanism, username, password } as NonNullable<KafkaOptions['sasl']> };
}
