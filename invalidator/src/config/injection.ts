import { hostname } from 'node:os';
import {
  duration,
  LOG_LEVELS,
  oneOf,
  optional,
  parseListenAddress,
  required,
  SettingError,
  text,
  withDefault,
  type EnvOf,
  type ListenAddress,
  type LogLevel,
} from '@tidemark/runtime';
import type { InjectionSettings } from '../core/injection/settings.ts';
import { readInjectionSettings } from './injection-settings.ts';
import { kubeconfigFile } from './values.ts';

/** The environment of `inject`. It knows no source's rules and no Kafka, so it shares little with the other commands. */
export const injectEnv = {
  settingsFile: required('TIDEMARK_INJECTION', {
    description: 'YAML file that says what is injected (the chart writes it)',
    parse: text,
  }),
  webhookListen: withDefault('TIDEMARK_WEBHOOK_LISTEN', '127.0.0.1:9443', {
    description: 'HTTPS address for the API server; port 0 takes any free one',
    parse: parseListenAddress,
  }),
  listen: withDefault('TIDEMARK_HTTP_LISTEN', '127.0.0.1:7082', {
    description: 'address of probes and metrics; port 0 takes any free one',
    parse: parseListenAddress,
  }),
  certificateFile: optional('TIDEMARK_WEBHOOK_CERT_FILE', {
    description: 'PEM file with the certificate; read again when it changes. Default: self-signed, see the next three',
    parse: text,
  }),
  keyFile: optional('TIDEMARK_WEBHOOK_KEY_FILE', { description: 'PEM file with its private key', parse: text }),
  secret: optional('TIDEMARK_WEBHOOK_SECRET', {
    description: "Secret in the pod's namespace where all replicas keep the self-signed certificate",
    parse: text,
  }),
  configuration: optional('TIDEMARK_WEBHOOK_CONFIGURATION', {
    description: 'MutatingWebhookConfiguration that is told whom to trust',
    parse: text,
  }),
  hosts: optional('TIDEMARK_WEBHOOK_HOSTS', {
    description: 'names that the self-signed certificate is for, divided by commas: SERVICE.NAMESPACE.svc',
    parse: hostNames,
  }),
  lifeMs: withDefault('TIDEMARK_WEBHOOK_CERTIFICATE_LIFE', '90d', {
    description: 'how long a self-signed certificate is valid; it is renewed after two thirds of it',
    parse: duration({ min: '10s', max: '365d' }),
  }),
  kubeconfig: kubeconfigFile,
  logLevel: withDefault('TIDEMARK_LOG_LEVEL', 'info', {
    description: `one of ${LOG_LEVELS.join(', ')}`,
    parse: oneOf(...LOG_LEVELS),
  }),
  instance: optional('TIDEMARK_INSTANCE', { description: 'name in the logs (default: HOSTNAME-PID)', parse: text }),
};

/** Settings of `inject`. */
export interface InjectConfig {
  readonly settings: InjectionSettings;
  readonly webhookListen: ListenAddress;
  readonly listen: ListenAddress;
  readonly certificates: ProvidedFiles | SelfSigned;
  readonly logLevel: LogLevel;
  readonly instance: string;
}

/** A certificate that others keep in files. */
export interface ProvidedFiles {
  readonly mode: 'provided';
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** A certificate that the process itself keeps in the cluster. */
export interface SelfSigned {
  readonly mode: 'self-signed';
  readonly secret: string;
  readonly configuration: string;
  readonly hosts: readonly string[];
  readonly lifeMs: number;
  readonly kubeconfig: string | undefined;
}

/** Throws {@link SettingError}, which says what to mend. */
export function resolveInject(found: EnvOf<typeof injectEnv>): InjectConfig {
  const { webhookListen, listen, logLevel, instance } = found;
  return {
    settings: readInjectionSettings(found.settingsFile),
    webhookListen,
    listen,
    certificates: certificatesOf(found),
    logLevel,
    instance: instance ?? `${hostname()}-${process.pid}`,
  };
}

function certificatesOf(found: EnvOf<typeof injectEnv>): ProvidedFiles | SelfSigned {
  const { certificateFile, keyFile, secret, configuration, hosts, lifeMs, kubeconfig } = found;
  const hasSelfSigned = secret !== undefined || configuration !== undefined || hosts !== undefined;
  if (certificateFile !== undefined && keyFile !== undefined && !hasSelfSigned)
    return { mode: 'provided', certificateFile, keyFile };
  const hasFiles = certificateFile !== undefined || keyFile !== undefined;
  if (secret !== undefined && configuration !== undefined && hosts !== undefined && !hasFiles)
    return { mode: 'self-signed', secret, configuration, hosts, lifeMs, kubeconfig };
  throw new SettingError(
    'TIDEMARK_WEBHOOK_*: expected either CERT_FILE and KEY_FILE, or SECRET, CONFIGURATION and HOSTS (self-signed), and nothing of the other',
  );
}

function hostNames(found: string): readonly string[] {
  const names = found.split(',');
  if (names.length > 16 || !names.every((name) => /^[a-z0-9][a-z0-9.:-]{0,252}$/.test(name)))
    throw new Error('expected at most 16 DNS names or IP addresses, divided by commas');
  return names;
}
