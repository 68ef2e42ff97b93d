import { withKafkaAdmin } from '../../kit/names.ts';
import { sidecars, type ProcessName } from '../cluster.ts';
import { until } from '../until.ts';
import type { FaultKind } from './fault.ts';

/** In good order, as an upgrade does it. */
const restart: FaultKind = {
  name: 'kafka-restart',
  says: 'Kafka is restarted',
  targets: ['kafka'],
  breaks: (target) => [target],
  lastsMs: [0, 0],
  start: async (cluster, _, { ending }) => {
    ending('kafka');
    await cluster.kafka.restart();
    return async () => undefined;
  },
};

/** Records that the sleeper misses: heartbeats alone make one a second. */
const missed = 5;

/** What a sidecar has not read yet is deleted: it sleeps for longer than the stream is kept. */
const retention: FaultKind = {
  name: 'kafka-retention',
  says: '{target} sleeps until the stream has forgotten what it missed',
  targets: sidecars,
  breaks: (target) => [target],
  needs: (target) => [
    `${target}-kafka`,
    'kafka',
    'invalidator',
    'invalidator-kafka',
    'invalidator-postgres',
    'postgres',
    'applier',
    'applier-kafka',
  ],
  lastsMs: [0, 2_000],
  start: async (cluster, target) => {
    const handle = cluster.process(target as ProcessName);
    const { topic, brokers } = cluster.stack;
    handle.pause();
    await withKafkaAdmin(brokers, async (admin) => {
      const end = async (): Promise<number> => Number((await admin.fetchTopicOffsets(topic))[0]?.high);
      const from = await end();
      await until('the stream moves', async () => (await end()) >= from + missed);
      // Up to the last of them: what it reads next does not follow what it has read before.
      const partitions = [{ partition: 0, offset: `${from + missed - 1}` }];
      await admin.deleteTopicRecords({ topic, partitions });
    });
    return async () => handle.resume();
  },
};

export const kafkaFaults: readonly FaultKind[] = [restart, retention];
