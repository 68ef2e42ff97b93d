import {
  commonEnv,
  duration,
  helpText,
  optional,
  parseListenAddress,
  readEnv,
  redisUrl,
  required,
  resolveCommon,
  text,
  withDefault,
  type CommonConfig,
  type EnvOf,
  type EnvSpec,
} from '@tidemark/runtime';

/** Longest name of a slot: NAMEDATALEN - 1. */
const SLOT_NAME = /^[a-z0-9_]{1,63}$/;

const listen = (fallback: string) =>
  withDefault('TIDEMARK_HTTP_LISTEN', fallback, {
    description: 'address of probes, metrics and purges; port 0 takes any free one',
    parse: parseListenAddress,
  });

const run = {
  ...commonEnv,
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
  ...commonEnv,
  redisUrl: required('TIDEMARK_REDIS_URL', {
    description: 'redis://, rediss://, redis+sentinel://HOST:PORT,.../MASTER or redis+cluster://HOST:PORT,...',
    parse: redisUrl,
    secret: true,
  }),
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

type Own<S extends EnvSpec> = CommonConfig & Omit<EnvOf<S>, keyof typeof commonEnv>;

/** Settings of `run`. */
export type RunConfig = Own<typeof run> & { readonly slot: string; readonly publication: string };
/** Settings of `apply`. */
export type ApplyConfig = Own<typeof apply> & { readonly group: string };

type Env = Readonly<Record<string, string | undefined>>;

/** Throws EnvError, ConfigFileError or {@link SettingError}, each of which says what to mend. */
export function runConfig(env: Env, configFile: string | undefined): RunConfig {
  const settings = readEnv(run, withFile(env, configFile), { alsoKnown: namesOf(apply) });
  const common = resolveCommon(settings);
  const name = `tidemark_${common.source.replaceAll(/[^a-z0-9_]/g, '_')}`.slice(0, 63);
  const { slot = name, publication = name } = settings;
  return Object.freeze({ ...settings, ...common, slot, publication });
}

/** Throws like {@link runConfig}. */
export function applyConfig(env: Env, configFile: string | undefined): ApplyConfig {
  const settings = readEnv(apply, withFile(env, configFile), { alsoKnown: namesOf(run) });
  const common = resolveCommon(settings);
  return Object.freeze({ ...settings, ...common, group: settings.group ?? `tidemark-applier-${common.source}` });
}

/** The environment of a command, for `--help`. */
export function environmentHelp(command: 'run' | 'apply'): string {
  return helpText(command === 'run' ? run : apply);
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
