import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { KitError } from './error.ts';
import {
  claimRedisDatabase,
  createDatabase,
  createTopic,
  deleteTopic,
  dropDatabase,
  returnRedisDatabase,
  uniqueWord,
} from './names.ts';
import type { Servers } from './servers.ts';

/** The shared configuration file, as far as the kit looks into it. */
export interface StackConfig {
  readonly sources?: Readonly<Record<string, { readonly topic?: string }>>;
  readonly namespaces?: Readonly<Record<string, unknown>>;
  readonly [other: string]: unknown;
}

/** Where in its servers a stack lives. */
export interface Place {
  readonly configFile: string;
  readonly source: string;
  readonly topic: string;
  readonly slot: string;
  readonly publication: string;
  readonly group: string;
  /** URL of its database. */
  readonly postgres: string;
  /** URL of its Redis database. */
  readonly redis: string;
  /** Gives everything back. In servers of our own it stays: it goes with them, and a test may have ended them. */
  remove(): Promise<void>;
}

export interface PlaceOptions {
  readonly config: string | StackConfig;
  /** The file that holds `config`, used as it is where names are not replaced, so that errors name it. */
  readonly configFile?: string | undefined;
  /** Whether names are unique, or those of the configuration. */
  readonly isolated: boolean;
  readonly withRedis: boolean;
  readonly topicSettings: Readonly<Record<string, string>>;
  /** An empty folder for the configuration. */
  readonly folder: string;
}

function readConfig(given: string | StackConfig): StackConfig {
  let value: unknown = given;
  try {
    if (typeof given === 'string') value = parse(given);
  } catch (error) {
    throw new KitError(`the configuration is not YAML: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new KitError('the configuration is not a YAML mapping of sources and namespaces.');
  return value as StackConfig;
}

function onlySource(config: StackConfig): { source: string; topic: string } {
  const sources = Object.entries(config.sources ?? { main: {} });
  const [first] = sources;
  if (first === undefined || sources.length > 1)
    throw new KitError(`the configuration has ${sources.length} sources; a stack follows exactly one.`);
  return { source: first[0], topic: first[1]?.topic ?? `tidemark.${first[0]}` };
}

/** Makes the names that a stack needs: always the topic, and, isolated, a database and a Redis database as well. */
export function makePlace(servers: Servers, options: PlaceOptions): Promise<Place> {
  const config = readConfig(options.config);
  const named = onlySource(config);
  return options.isolated
    ? uniquePlace(servers, { ...options, config, source: named.source })
    : configuredPlace(servers, options, named);
}

async function configuredPlace(
  servers: Servers,
  options: PlaceOptions,
  { source, topic }: { source: string; topic: string },
): Promise<Place> {
  let { configFile } = options;
  if (configFile === undefined) {
    configFile = join(options.folder, 'tidemark.yaml');
    await writeFile(configFile, typeof options.config === 'string' ? options.config : stringify(options.config));
  }
  await createTopic(servers, topic, options.topicSettings);
  const slot = `tidemark_${source}`;
  const group = `tidemark-applier-${source}`;
  return {
    configFile,
    source,
    topic,
    slot,
    publication: slot,
    group,
    postgres: servers.postgres.url,
    redis: servers.redis.url,
    remove: async () => undefined,
  };
}

async function uniquePlace(
  servers: Servers,
  options: Omit<PlaceOptions, 'config'> & { config: StackConfig; source: string },
): Promise<Place> {
  const { config, source } = options;
  const word = uniqueWord();
  const topic = `tidemark.${word}`;
  const configFile = join(options.folder, 'tidemark.yaml');
  await writeFile(configFile, stringify({ ...config, sources: { [source]: { ...config.sources?.[source], topic } } }));
  const made: (() => Promise<unknown>)[] = [];
  const remove = async (): Promise<void> => {
    const results = await Promise.allSettled(made.splice(0).map((undo) => undo()));
    for (const result of results) if (result.status === 'rejected') throw result.reason as Error;
  };
  const making = await Promise.allSettled([
    createDatabase(servers, word).then((url) => {
      if (!servers.postgres.owned) made.push(() => dropDatabase(servers, word));
      return url;
    }),
    createTopic(servers, topic, options.topicSettings).then(() => {
      if (!servers.kafka.owned) made.push(() => deleteTopic(servers, topic));
    }),
    options.withRedis
      ? claimRedisDatabase(servers).then((url) => {
          if (!servers.redis.owned) made.push(() => returnRedisDatabase(url));
          return url;
        })
      : servers.redis.url,
  ]);
  const [postgres, , redis] = making;
  const failed = making.find((result) => result.status === 'rejected');
  if (failed !== undefined || postgres.status === 'rejected' || redis.status === 'rejected') {
    await remove();
    throw failed?.reason as Error;
  }
  const slot = `tidemark_${word}`;
  return {
    configFile,
    source,
    topic,
    slot,
    publication: slot,
    group: `tidemark-applier-${word}`,
    postgres: postgres.value,
    redis: redis.value,
    remove,
  };
}
