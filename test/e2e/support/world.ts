import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { V1Pod } from '@kubernetes/client-node';
import pg from 'pg';
import { stringify } from 'yaml';
import { type Cluster, type PodRunner, startCluster, startPodRunner } from '../../kit/kube/index.ts';
import {
  claimRedisDatabase,
  createDatabase,
  deleteTopic,
  dropDatabase,
  returnRedisDatabase,
  uniqueWord,
} from '../../kit/names.ts';
import { scratchFolder } from '../../kit/scratch.ts';
import type { Servers } from '../../kit/servers.ts';

export const chart = fileURLToPath(new URL('../../../charts/tidemark', import.meta.url));
/** The image of the chart's defaults, without its tag. */
const image = 'ghcr.io/tidemark/tidemark';

/** Where the release and the application live. */
export const release = 'tide';
export const releaseNamespace = 'tidemark';
export const applicationNamespace = 'shop';

export interface Values {
  readonly [name: string]: unknown;
}

/** A cluster with nothing installed, whose pods of our image run as processes, beside a database, a Redis and a Kafka. */
export interface World {
  readonly cluster: Cluster;
  readonly runner: PodRunner;
  /** The name of the source, and what the slot and topics are called after. */
  readonly source: string;
  readonly slot: string;
  /** What a person would put into values.yaml, with what the test adds (by top-level name). */
  values(more: Values): Values;
  /** `helm install` or `helm upgrade` of the release with --wait. */
  helm(verb: 'install' | 'upgrade', values: Values, ...more: readonly string[]): Promise<string>;
  sql<Row extends pg.QueryResultRow = pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Pods that are not on their way out, by a label selector. */
  pods(namespace: string, selector: string): Promise<V1Pod[]>;
  stop(): Promise<void>;
}

// As pods would call them; all three are outside of the cluster.
const [kafkaName, postgresName, redisName] = [
  'kafka.infra.svc:9092',
  'postgres.infra.svc:5432',
  'redis.infra.svc:6379',
];

function renamed(url: string, host: string): string {
  const named = new URL(url);
  named.host = host;
  return named.href;
}

export async function startWorld(servers: Servers, initSql: string): Promise<World> {
  const source = uniqueWord();
  const scratch = scratchFolder('e2e');
  const [database, redis] = await Promise.all([createDatabase(servers, source), claimRedisDatabase(servers)]);
  const pool = new pg.Pool({ connectionString: database, max: 4, allowExitOnIdle: true });
  pool.on('error', () => undefined);
  await pool.query(initSql);
  const cluster = await startCluster({ components: 'all', notPlayed: image });
  const runner = await startPodRunner({
    cluster,
    image,
    outside: {
      [kafkaName]: servers.kafka.brokers[0] ?? '',
      [postgresName]: new URL(database).host,
      [redisName]: new URL(redis).host,
    },
  });
  await cluster.objects.apply(...[releaseNamespace, applicationNamespace].map(restricted));
  let files = 0;
  return {
    cluster,
    runner,
    source,
    slot: `tidemark_${source}`,
    values: (more) => ({
      source: { name: source },
      kafka: { brokers: [kafkaName] },
      postgres: { url: renamed(database, postgresName) },
      redis: { url: renamed(redis, redisName) },
      sidecar: { redisUrl: renamed(redis, redisName) },
      // As long as a busy machine of a test needs; the defaults would make it wait.
      invalidator: { lease: { duration: '6s', renewDeadline: '4s', retry: '500ms' } },
      ...more,
    }),
    helm: async (verb, values, ...more) => {
      const file = join(scratch.path, `values-${(files += 1)}.yaml`);
      await writeFile(file, stringify(values));
      const options = ['--namespace', releaseNamespace, '--values', file, '--wait', '--timeout', '240s'];
      return cluster.helm(verb, release, chart, ...options, ...more);
    },
    sql: async (text, parameters) =>
      (parameters === undefined ? await pool.query(text) : await pool.query(text, parameters)).rows,
    pods: async (namespace, selector) => {
      const pods = await cluster.objects.list<V1Pod>('v1', 'Pod', namespace, selector);
      return pods.filter(({ metadata }) => metadata?.deletionTimestamp === undefined);
    },
    stop: async () => {
      await runner.stop();
      await cluster.stop();
      await pool.end();
      await Promise.all([
        dropDatabase(servers, source),
        returnRedisDatabase(redis),
        deleteTopic(servers, `tidemark.${source}`).catch(() => undefined), // where nothing got that far
        deleteTopic(servers, `tidemark.${source}.config`).catch(() => undefined),
      ]);
      await scratch.remove();
    },
  };
}

/** A namespace that refuses what is not hardened: https://kubernetes.io/docs/concepts/security/pod-security-standards/ */
function restricted(name: string) {
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}
