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

/** The same, checked against each other and against the file. */
export interface CommonConfig {
  readonly document: TidemarkConfig;
  /** The source in the document that this process works for. */
  readonly source: string;
  readonly sourceConfig: SourceConfig;
  readonly topic: string;
  readonly kafka: Pick<KafkaOptions, 'brokers' | 'tls' | 'sasl'>;
  readonly logLevel: LogLevel;
  readonly instance: string;
}

/** Throws ConfigFileError or {@link SettingError}, each of which says what to mend. */
export function resolveCommon(settings: EnvOf<typeof commonEnv>): CommonConfig {
  const document = loadConfigFile(settings.configFile);
  const source = settings.source ?? onlySource(document);
  const sourceConfig = Object.hasOwn(document.sources, source) ? document.sources[source] : undefined;
  if (sourceConfig === undefined) {
    throw new SettingError(
      `TIDEMARK_SOURCE: found "${source}", expected one of the sources in ${settings.configFile}: ${Object.keys(document.sources).join(', ')}`,
    );
  }
  const sasl = saslOf(settings);
  const tls = kafkaTlsOf(settings) ?? false;
  return {
    document,
    source,
    sourceConfig,
    topic: sourceConfig.topic,
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

function saslOf(settings: EnvOf<typeof commonEnv>): KafkaOptions['sasl'] {
  const { saslMechanism: mechanism, saslUsername: username, saslPassword: password } = settings;
  if (mechanism === undefined && username === undefined && password === undefined) return undefined;
  if (mechanism === undefined || username === undefined || password === undefined) {
    throw new SettingError(
      'TIDEMARK_KAFKA_SASL_MECHANISM, _USERNAME and _PASSWORD: found only some of them, expected all three or none',
    );
  }
  return { mechanism, username, password };
}
