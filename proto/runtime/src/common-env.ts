import { hostname } from 'node:os';
import type { SourceConfig, TidemarkConfig } from '@tidemark/proto';
import { loadConfigFile } from './config-file.ts';
import { flag, hostPorts, oneOf, optional, required, text, withDefault, type EnvOf } from './env.ts';
import type { KafkaOptions } from './kafka.ts';
import { LOG_LEVELS, type LogLevel } from './logger.ts';
import { SettingError } from './setting-error.ts';
import { kafkaTlsEnv, kafkaTlsOf } from './tls-files.ts';

/** What every process of Tidemark is told by its environment. */
export const commonEnv = {
  configFile: required('TIDEMARK_CONFIG', { description: 'YAML file with sources and namespaces', parse: text }),
  source: optional('TIDEMARK_SOURCE', {
    description: 'source to work for (default: the only one in the file)',
    parse: text,
  }),
  brokers: required('TIDEMARK_KAFKA_BROKERS', {
    description: 'HOST:PORT of Kafka brokers, divided by commas',
    parse: hostPorts,
  }),
  kafkaTls: withDefault('TIDEMARK_KAFKA_TLS', 'false', { description: 'whether to speak TLS to Kafka', parse: flag }),
  ...kafkaTlsEnv,
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
  logLevel: withDefault('TIDEMARK_LOG_LEVEL', 'info', {
    description: `one of ${LOG_LEVELS.join(', ')}`,
    parse: oneOf(...LOG_LEVELS),
  }),
  instance: optional('TIDEMARK_INSTANCE', { description: 'name in the logs (default: HOSTNAME-PID)', parse: text }),
};

/** The same for processes that may also follow the configuration topic. */
export const followerEnv = {
  ...commonEnv,
  configFile: optional('TIDEMARK_CONFIG', {
    description: 'YAML file with sources and namespaces; this or TIDEMARK_CONFIG_TOPIC',
    parse: text,
  }),
  configTopic: optional('TIDEMARK_CONFIG_TOPIC', {
    description: 'Kafka topic in which the invalidator publishes what it serves; changes are taken without a restart',
    parse: topicName,
  }),
};

/** Settings that need no document. */
interface ProcessConfig {
  readonly kafka: Pick<KafkaOptions, 'brokers' | 'tls' | 'sasl'>;
  readonly logLevel: LogLevel;
  readonly instance: string;
}

/** What a process works for. */
export interface SourceSettings {
  readonly document: TidemarkConfig;
  /** The source in the document that this process works for. */
  readonly source: string;
  readonly sourceConfig: SourceConfig;
  readonly topic: string;
}

/** The same, checked against each other and against the file. */
export type CommonConfig = ProcessConfig & SourceSettings;

/** Where a process learns what it works for. */
export type ConfigOrigin =
  | ({ readonly kind: 'file' } & SourceSettings)
  /** `source`: the only one that it takes; undefined for any. */
  | { readonly kind: 'topic'; readonly topic: string; readonly source: string | undefined };

/** The same for processes that may also follow the configuration topic. */
export type FollowerConfig = ProcessConfig & { readonly origin: ConfigOrigin };

/** Throws ConfigFileError or {@link SettingError}, each of which says what to mend. */
export function resolveCommon(settings: EnvOf<typeof commonEnv>): CommonConfig {
  const { configFile: file, source } = settings;
  return {
    ...sourceSettings({ document: loadConfigFile(file), source, named: `in ${file}` }),
    ...resolveProcess(settings),
  };
}

/** Throws like {@link resolveCommon}. */
export function resolveFollower(settings: EnvOf<typeof followerEnv>): FollowerConfig {
  const { configFile: file, configTopic: topic, source } = settings;
  if ((file === undefined) === (topic === undefined)) {
    const found = file === undefined ? 'neither of them' : 'both';
    throw new SettingError(`TIDEMARK_CONFIG and TIDEMARK_CONFIG_TOPIC: found ${found}, expected one of them`);
  }
  const origin: ConfigOrigin =
    file === undefined
      ? { kind: 'topic', topic: topic as string, source }
      : { kind: 'file', ...sourceSettings({ document: loadConfigFile(file), source, named: `in ${file}` }) };
  return { origin, ...resolveProcess(settings) };
}

/** What a document says about a source, by default its only one. Throws {@link SettingError}; `named` tells where it stands. */
export function sourceSettings(options: {
  readonly document: TidemarkConfig;
  readonly source: string | undefined;
  readonly named: string;
}): SourceSettings {
  const { document, named } = options;
  const source = options.source ?? onlySource(document);
  const sourceConfig = Object.hasOwn(document.sources, source) ? document.sources[source] : undefined;
  if (sourceConfig === undefined) {
    throw new SettingError(
      `TIDEMARK_SOURCE: found "${source}", expected one of the sources ${named}: ${Object.keys(document.sources).join(', ')}`,
    );
  }
  return { document, source, sourceConfig, topic: sourceConfig.topic };
}

function resolveProcess(settings: Omit<EnvOf<typeof commonEnv>, 'configFile'>): ProcessConfig {
  const sasl = saslOf(settings);
  const tls = kafkaTlsOf(settings) ?? false;
  return {
    kafka: { brokers: settings.brokers, tls, ...(sasl && { sasl }) },
    logLevel: settings.logLevel,
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

function saslOf(settings: Omit<EnvOf<typeof commonEnv>, 'configFile'>): KafkaOptions['sasl'] {
  const { saslMechanism: mechanism, saslUsername: username, saslPassword: password } = settings;
  if (mechanism === undefined && username === undefined && password === undefined) return undefined;
  if (mechanism === undefined || username === undefined || password === undefined) {
    throw new SettingError(
      'TIDEMARK_KAFKA_SASL_MECHANISM, _USERNAME and _PASSWORD: found only some of them, expected all three or none',
    );
  }
  return { mechanism, username, password };
}

/** Checks the name of a topic; throws what was expected. */
export function topicName(found: string): string {
  if (!/^[a-zA-Z0-9._-]{1,249}$/.test(found)) throw new Error("expected 1 to 249 of a-z, A-Z, 0-9, '.', '_', '-'");
  return found;
}
