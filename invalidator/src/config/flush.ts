import { MAX_WRITES_TOPIC_CHARS } from '@tidemark/proto';
import {
  duration,
  followerEnv,
  parseListenAddress,
  postgresUrl,
  required,
  resolveFollower,
  topicName,
  withDefault,
  type EnvOf,
  type FollowerConfig,
} from '@tidemark/runtime';

/** What `flush` is told by its environment. */
export const flushEnv = {
  ...followerEnv,
  writesTopic: required('TIDEMARK_WRITES_TOPIC', {
    description:
      'Kafka topic in which sidecars put the writes of namespaces with writeBehind; made where it is missing',
    parse: writesTopicName,
  }),
  postgresUrl: required('TIDEMARK_POSTGRES_URL', {
    description:
      'URL of the primary, for a role that may run the statements of writeBehind and write to schema tidemark',
    parse: postgresUrl,
    secret: true,
  }),
  flushIntervalMs: withDefault('TIDEMARK_FLUSH_INTERVAL', '50ms', {
    description: 'shortest time between two transactions while writes come one by one; longer ones coalesce more',
    parse: duration({ min: '0ms', max: '10s' }),
  }),
  writesKeepMs: withDefault('TIDEMARK_WRITES_KEEP', '24h', {
    description: 'how long Kafka keeps writes that are in Postgres, for a database that goes back (failover, restore)',
    parse: duration({ min: '1s', max: '30d' }),
  }),
  listen: withDefault('TIDEMARK_HTTP_LISTEN', '127.0.0.1:7083', {
    description: 'address of probes and metrics; port 0 takes any free one',
    parse: parseListenAddress,
  }),
};

/** Settings of `flush`. */
export type FlushConfig = FollowerConfig & Omit<EnvOf<typeof flushEnv>, keyof typeof followerEnv>;

/** Throws ConfigFileError or SettingError, each of which says what to mend. */
export function resolveFlush(settings: EnvOf<typeof flushEnv>): FlushConfig {
  return { ...settings, ...resolveFollower(settings) };
}

/** The name of the topic of writes. Throws what was expected. */
function writesTopicName(found: string): string {
  if (found.length > MAX_WRITES_TOPIC_CHARS)
    throw new Error(`expected at most ${MAX_WRITES_TOPIC_CHARS} characters: it stands in marks in the WAL`);
  return topicName(found);
}
