import {
  commonEnv,
  duration,
  flag,
  followerEnv,
  helpText,
  optional,
  parseListenAddress,
  postgresUrl,
  readEnv,
  redisTlsEnv,
  redisTlsOf,
  redisUrl,
  required,
  resolveCommon,
  resolveFollower,
  SettingError,
  text,
  topicName,
  withDefault,
  type CommonConfig,
  type EnvOf,
  type EnvSpec,
  type FollowerConfig,
  type TlsIdentity,
} from '@tidemark/runtime';
import { complaintAbout, type ElectionTimes } from './core/election.ts';
import { httpUrl, kubeconfigFile, slotName } from './config/values.ts';
import { flushEnv, resolveFlush, type FlushConfig } from './config/flush.ts';
import { injectEnv, resolveInject, type InjectConfig } from './config/injection.ts';

const listen = (fallback: string) =>
  withDefault('TIDEMARK_HTTP_LISTEN', fallback, {
    description: 'address of probes, metrics and purges; port 0 takes any free one',
    parse: parseListenAddress,
  });

/** What `run` needs to take turns with other replicas. */
const election = {
  lease: optional('TIDEMARK_LEASE', {
    description: 'name of the Lease by which replicas elect the one that works (default: no election)',
    parse: text,
  }),
  leaseNamespace: optional('TIDEMARK_LEASE_NAMESPACE', {
    description: "namespace of the Lease (default: the pod's)",
    parse: text,
  }),
  leaseDurationMs: withDefault('TIDEMARK_LEASE_DURATION', '15s', {
    description: 'how long others wait for a sign of life before they take over',
    parse: duration({ min: '1s', max: '1h' }),
  }),
  leaseRenewDeadlineMs: withDefault('TIDEMARK_LEASE_RENEW_DEADLINE', '10s', {
    description: 'how long a leader is sure of the Lease without renewing it; less than its duration',
    parse: duration({ min: '100ms', max: '1h' }),
  }),
  leaseRetryMs: withDefault('TIDEMARK_LEASE_RETRY', '2s', {
    description: 'pause between attempts; times 1.2 it is less than the renew deadline',
    parse: duration({ min: '50ms', max: '10m' }),
  }),
  kubeconfig: kubeconfigFile,
};

const run = {
  ...commonEnv,
  configTopic: optional('TIDEMARK_CONFIG_TOPIC', {
    description: 'Kafka topic in which sidecars and appliers find the configuration (default: it is not published)',
    parse: topicName,
  }),
  cacheNamespaces: withDefault('TIDEMARK_CACHE_NAMESPACES', 'false', {
    description: 'whether CacheNamespace resources of the cluster belong to the configuration',
    parse: flag,
  }),
  postgresUrl: required('TIDEMARK_POSTGRES_URL', {
    description: 'URL of the primary, for a role that may replicate; TLS: ?sslmode=verify-full&sslrootcert=FILE',
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
  ...election,
};

const apply = {
  ...followerEnv,
  redisUrl: required('TIDEMARK_REDIS_URL', {
    description: 'redis://, rediss://, redis+sentinel://HOST:PORT,.../MASTER or redis+cluster://HOST:PORT,...',
    parse: redisUrl,
    secret: true,
  }),
  ...redisTlsEnv,
  redisDeadlineMs: withDefault('TIDEMARK_REDIS_DEADLINE', '2s', {
    description: 'longest wait for one answer of Redis; nothing but the log waits for it, so be patient',
    parse: duration({ min: '1s', max: '60s' }),
  }),
  group: optional('TIDEMARK_GROUP', {
    description: 'Kafka consumer group (default: tidemark-applier-SOURCE)',
    parse: text,
  }),
  listen: listen('127.0.0.1:7081'),
};

const replay = {
  ...commonEnv,
  logLevel: { ...commonEnv.logLevel, default: 'warn' },
  redisUrl: optional('TIDEMARK_REDIS_URL', {
    description: 'with --into redis: redis://, rediss://, redis+sentinel:// or redis+cluster://, as for apply',
    parse: redisUrl,
    secret: true,
  }),
  ...redisTlsEnv,
  redisDeadlineMs: apply.redisDeadlineMs,
  invalidatorUrl: optional('TIDEMARK_INVALIDATOR_URL', {
    description: 'with --into sidecars: http://HOST:PORT of an invalidator (run), which writes the purges',
    parse: httpUrl,
  }),
};

/** A capture needs no broker. */
const replayFile = {
  ...replay,
  brokers: { ...commonEnv.brokers, whenUnset: { value: [] as readonly string[] } },
};

/** Where the slot is; neither Kafka nor the document is needed to drop it. */
const drop = { source: commonEnv.source, postgresUrl: run.postgresUrl, slot: run.slot, publication: run.publication };

const migrate = {
  postgresUrl: required('TIDEMARK_POSTGRES_URL', {
    description: 'URL of the primary, for a role that may make schema tidemark or owns it',
    parse: postgresUrl,
    secret: true,
  }),
};

const selftest = {
  url: required('TIDEMARK_URL', { description: 'http://HOST:PORT of a sidecar', parse: httpUrl }),
  postgresUrl: required('TIDEMARK_POSTGRES_URL', {
    description: 'URL of the primary, for a role that may write to the table of the test',
    parse: postgresUrl,
    secret: true,
  }),
};

const specs = {
  run,
  apply,
  flush: flushEnv,
  inject: injectEnv,
  replay,
  capture: { ...commonEnv, logLevel: replay.logLevel },
  'drop-slot': drop,
  migrate,
  selftest,
};

type Own<S extends EnvSpec> = CommonConfig & Omit<EnvOf<S>, keyof typeof commonEnv>;

/** Settings of `run`. */
export type RunConfig = Omit<Own<typeof run>, keyof typeof election> & {
  readonly configFile: string;
  readonly slot: string;
  readonly publication: string;
  readonly kubeconfig: string | undefined;
  /** How replicas take turns; undefined where there is no election. */
  readonly election: ElectionConfig | undefined;
};

/** Where and how an election is held. */
export interface ElectionConfig {
  readonly lease: string;
  /** Undefined: the pod's own. */
  readonly namespace: string | undefined;
  readonly times: ElectionTimes;
}
/** Settings of `apply`. */
export type ApplyConfig = FollowerConfig &
  Omit<EnvOf<typeof apply>, keyof typeof followerEnv> & { readonly redisTls: TlsIdentity | undefined };

/** Settings of `replay`. */
export type ReplayConfig = Own<typeof replay> & { readonly redisTls: TlsIdentity | undefined };

type Env = Readonly<Record<string, string | undefined>>;

/** Throws EnvError, ConfigFileError or {@link SettingError}, each of which says what to mend. */
export function runConfig(env: Env, configFile: string | undefined): RunConfig {
  const settings = readEnv(run, withFile(env, configFile), { alsoKnown: allNames });
  const common = resolveCommon(settings);
  const name = nameInPostgres(common.source);
  const { slot = name, publication = name } = settings;
  return Object.freeze({ ...settings, ...common, slot, publication, election: electionOf(settings) });
}

function electionOf(settings: EnvOf<typeof election>): ElectionConfig | undefined {
  const { lease, leaseNamespace: namespace, leaseRetryMs: retryMs } = settings;
  if (lease === undefined) return undefined;
  const times = { durationMs: settings.leaseDurationMs, renewDeadlineMs: settings.leaseRenewDeadlineMs, retryMs };
  const complaint = complaintAbout(times);
  if (complaint !== undefined)
    throw new SettingError(
      `${complaint}: mend TIDEMARK_LEASE_DURATION, TIDEMARK_LEASE_RENEW_DEADLINE or TIDEMARK_LEASE_RETRY`,
    );
  return { lease, namespace, times };
}

/** Throws like {@link runConfig}. */
export function applyConfig(env: Env, configFile: string | undefined): ApplyConfig {
  const settings = readEnv(apply, withFile(env, configFile), { alsoKnown: allNames });
  return Object.freeze({ ...settings, ...resolveFollower(settings), redisTls: redisTlsOf(settings) });
}

/** Throws like {@link runConfig}. */
export function flushConfig(env: Env, configFile: string | undefined): FlushConfig {
  return Object.freeze(resolveFlush(readEnv(flushEnv, withFile(env, configFile), { alsoKnown: allNames })));
}

/** Settings of `inject`. Throws like {@link runConfig}. */
export function injectConfig(env: Env): InjectConfig {
  return Object.freeze(resolveInject(readEnv(injectEnv, env, { alsoKnown: allNames })));
}

/** Settings of `replay`; without brokers when it reads a capture. Throws like {@link runConfig}. */
export function replayConfig(
  env: Env,
  options: { readonly configFile: string | undefined; readonly isFromFile: boolean },
): ReplayConfig {
  const spec = options.isFromFile ? replayFile : replay;
  const settings = readEnv(spec, withFile(env, options.configFile), { alsoKnown: allNames });
  return Object.freeze({ ...settings, ...resolveCommon(settings), redisTls: redisTlsOf(settings) });
}

/** Settings of `capture`. Throws like {@link runConfig}. */
export function captureConfig(env: Env, configFile: string | undefined): CommonConfig {
  return Object.freeze(resolveCommon(readEnv(specs.capture, withFile(env, configFile), { alsoKnown: allNames })));
}

/** Settings of `drop-slot`. */
export interface DropSlotConfig {
  readonly postgresUrl: string;
  readonly slot: string;
  readonly publication: string;
}

/** Throws EnvError or {@link SettingError}. */
export function dropSlotConfig(env: Env): DropSlotConfig {
  const { source, postgresUrl: url, ...named } = readEnv(drop, env, { alsoKnown: allNames });
  const name = source === undefined ? undefined : nameInPostgres(source);
  const { slot = name, publication = name } = named;
  if (slot === undefined || publication === undefined) {
    throw new SettingError(
      'TIDEMARK_SOURCE: found nothing, expected the name of the source (or TIDEMARK_SLOT and TIDEMARK_PUBLICATION)',
    );
  }
  return { postgresUrl: url, slot, publication };
}

/** Settings of `migrate`. Throws EnvError. */
export function migrateConfig(env: Env): EnvOf<typeof migrate> {
  return readEnv(migrate, env, { alsoKnown: allNames });
}

/** Settings of `selftest`. Throws EnvError. */
export function selftestConfig(env: Env): EnvOf<typeof selftest> {
  return readEnv(selftest, env, { alsoKnown: allNames });
}

/** Slot and publication of a source, unless they are named. */
function nameInPostgres(source: string): string {
  return `tidemark_${source.replaceAll(/[^a-z0-9_]/g, '_')}`.slice(0, 63);
}

/** The environment of a command, for `--help`. */
export function environmentHelp(command: keyof typeof specs): string {
  return helpText(specs[command]);
}

function withFile(env: Env, configFile: string | undefined): Env {
  return configFile === undefined ? env : { ...env, TIDEMARK_CONFIG: configFile };
}

/** Commands share an environment: what one of them knows is no mistake for another. */
const allNames = Object.values(specs).flatMap(namesOf);

function namesOf(spec: Readonly<Record<string, { readonly name: string }>>): string[] {
  return Object.values(spec).map(({ name }) => name);
}
