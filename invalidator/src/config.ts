import { hostname } from 'node:os';
import type { TidemarkConfig } from '@tidemark/proto';
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
} from '@tidemark/runtime';
import type { SASLOptions } from 'kafkajs';

/** Longest name of a slot: NAMEDATALEN - 1. */
const SLOT_NAME = /^[a-z0-9_]{1,63}$/;

const common = {
  config: required('TIDEMARK_CONFIG', { description: 'YAML file with sources and namespaces', parse: text }),
  source: optional('TIDEMARK_SOURCE', {
    description: 'source to work for (default: the only one in the file)',
    parse: text,
  }),
  brokers: required('TIDEMARK_KAFKA_BROKERS', {
    description: 'HOST:PORT of Kafka brokers, divided by commas',
    parse: hostPorts,
  }),
  kafkaTls: withDefault('TIDEMARK_KAFKA_TLS', 'false', { description: 'whether to speak TLS to Kafka', parse: flag }),
  saslMechanism: optional('TIDEMARK_KAFKA_SASL_MECHANISM', {
    description: 'plain, scram-sha-256 or scram-sha-512',
    parse: oneOf('plain', 'scram-sha-256', 'scram-sha-512'),
  }),
  saslUsername: optional('TIDEMARK_KAFKA_SASL_USERNAME', { description: 'user for SASL', parse: text }),
  saslPassword: optional('TIDEMARK_KAFKA_SASL_PASSWORD', {
    description: 'password for SASL',
    parse: text,
    secret: true,
  }),
  logLevel: withDefault('TIDEMARK_LOG_LEVEL', 'info', {
    description: `one of ${LOG_LEVELS.join(', ')}`,
    parse: oneOf(...LOG_LEVELS),
  }),
  instance: optional('TIDEMARK_INSTANCE', { description: 'name in the logs (default: HOSTNAME-PID)', parse: text }),
};

const listen = (fallback: string) =>
  withDefault('TIDEMARK_HTTP_LISTEN', fallback, {
    description: 'address of probes, metrics and purges; port 0 takes any free one',
    parse: parseListenAddress,
  });

const run = {
  ...common,
  postgresUrl: required('TIDEMARK_POSTGRES_URL', {
    description: 'URL of the primary, for a role that may replicate',
    parse: postgresUrl,
    secret: true,
  }),
  slot: optional('TIDEMARK_SLOT', { description: 'replication slot (default: tidemark_SOURCE)', parse: slotName }),
  publication: optional('TIDEMARK_PUBLICATION', { description: 'publication (default: tidemark_SOURCE)', parse: text }),
  retentionMs: withDefault('TIDEMARK_TOPIC_RETENTION', '24h', {
    description: 'how long Kafka keeps records, for a topic that has to be made',
    parse: duration({ min: '1m', max: '365d' }),
  }),
  listen: listen('127.0.0.1:7080'),
};

const apply = {
  ...common,
  redisUrl: required('TIDEMARK_REDIS_URL', {
    description: 'redis://, rediss://, redis+sentinel://HOST:PORT,.../MASTER or redis+cluster://HOST:PORT,...',
    parse: text,
    secret: true,
  }),
  redisDeadlineMs: withDefault('TIDEMARK_REDIS_DEADLINE', '50ms', {
    description: 'longest wait for one answer of Redis',
    parse: duration({ min: '1ms', max: '60s' }),
  }),
  group: optional('TIDEMARK_GROUP', {
    description: 'Kafka consumer group (default: tidemark-applier-SOURCE)',
    parse: text,
  }),
  listen: listen('127.0.0.1:7081'),
};

/** What both commands are told. */
interface Shared {
  readonly document: TidemarkConfig;
  /** The source in the document that this process works for. */
  readonly source: string;
  readonly topic: string;
  readonly kafka: { readonly brokers: readonly string[]; readonly tls: boolean; readonly sasl?: SASLOptions };
  readonly instance: string;
}

type Replaced =
  | 'config'
  | 'source'
  | 'brokers'
  | 'kafkaTls'
  | 'saslMechanism'
  | 'saslUsername'
  | 'saslPassword'
  | 'instance'
  | 'slot'
  | 'publication'
  | 'group';

/** Settings of `run`. */
export type RunConfig = Shared &
  Omit<EnvOf<typeof run>, Replaced> & { readonly slot: string; readonly publication: string };
/** Settings of `apply`. */
export type ApplyConfig = Shared & Omit<EnvOf<typeof apply>, Replaced> & { readonly group: string };

type Env = Readonly<Record<string, string | undefined>>;

/** A setting that is well formed, but does not fit the others. */
export class SettingError extends Error {
  override name = 'SettingError';
}

/** Throws EnvError, ConfigFileError or {@link SettingError}, each of which says what to mend. */
export function runConfig(env: Env, configFile: string | undefined): RunConfig {
  const settings = readEnv(run, withFile(env, configFile), { alsoKnown: namesOf(apply) });
  const { postgresUrl: url, retentionMs, listen: address, logLevel } = settings;
  const shared = sharedOf(settings);
  const word = shared.source.replaceAll(/[^a-z0-9_]/g, '_');
  return Object.freeze({
    ...shared,
    postgresUrl: url,
    retentionMs,
    listen: address,
    logLevel,
    slot: settings.slot ?? `tidemark_${word}`.slice(0, 63),
    publication: settings.publication ?? `tidemark_${word}`.slice(0, 63),
  });
}

/** Throws like {@link runConfig}. */
export function applyConfig(env: Env, configFile: string | undefined): ApplyConfig {
  const settings = readEnv(apply, withFile(env, configFile), { alsoKnown: namesOf(run) });
  const { redisUrl, redisDeadlineMs, listen: address, logLevel } = settings;
  const shared = sharedOf(settings);
  return Object.freeze({
    ...shared,
    redisUrl,
    redisDeadlineMs,
    listen: address,
    logLevel,
    group: settings.group ?? `tidemark-applier-${shared.source}`,
  });
}

/** The environment of a command, for `--help`. */
export function environmentHelp(command: 'run' | 'apply'): string {
  return helpText(command === 'run' ? run : apply);
}

function sharedOf(settings: EnvOf<typeof common>): Shared {
  const document = loadConfigFile(settings.config);
  const source = settings.source ?? onlySource(document);
  const found = document.sources[source];
  if (found === undefined) {
    throw new SettingError(
      `TIDEMARK_SOURCE: found "${source}", expected one of the sources in ${settings.config}: ${Object.keys(document.sources).join(', ')}`,
    );
  }
  const sasl = saslOf(settings);
  return {
    document,
    source,
    topic: found.topic,
    kafka: { brokers: settings.brokers, tls: settings.kafkaTls, ...(sasl && { sasl }) },
    instance: settings.instance ?? `${hostname()}-${process.pid}`,
  };
}

function onlySource(document: TidemarkConfig): string {
  const [first, ...others] = Object.keys(document.sources);
  if (first === undefined || others.length > 0) {
    throw new SettingError(
      `TIDEMARK_SOURCE: found nothing, expected one of ${Object.keys(document.sources).join(', ')} (only a single source needs no name)`,
    );
  }
  return first;
}

function saslOf({
  saslMechanism: mechanism,
  saslUsername: username,
  saslPassword: password,
}: EnvOf<typeof common>): SASLOptions | undefined {
  const given = [mechanism, username, password].filter((value) => value !== undefined).length;
  if (given === 0) return undefined;
  if (mechanism === undefined || username === undefined || password === undefined) {
    throw new SettingError(
      'TIDEMARK_KAFKA_SASL_MECHANISM, _USERNAME and _PASSWORD: found only some of them, expected all three or none',
    );
  }
  return { mechanism, username, password };
}

function withFile(env: Env, configFile: string | undefined): Env {
  return configFile === undefined ? env : { ...env, TIDEMARK_CONFIG: configFile };
}

function namesOf(spec: Readonly<Record<string, { readonly name: string }>>): string[] {
  return Object.values(spec).map(({ name }) => name);
}

function slotName(found: string): string {
  if (!SLOT_NAME.test(found)) throw new Error('expected 1 to 63 of a-z, 0-9 and "_"');
  return found;
}

function postgresUrl(found: string): string {
  if (!/^postgres(ql)?:\/\//.test(found) || !URL.canParse(found))
    throw new Error('expected postgres://USER:PASSWORD@HOST:PORT/DATABASE');
  return found;
}
