import type { Admin, Producer } from 'kafkajs';
import { eventually } from './eventually.ts';

/** Makes a topic of one partition, and waits until its leader serves it. */
export async function newTopic(admin: Admin, topic: string, settings: Record<string, string> = {}): Promise<string> {
  const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }));
  const topics = [{ topic, numPartitions: 1, configEntries }];
  // Where the machine did not let a broker run for its session the controller has none to put it on, until that broker is back.
  await eventually(() => admin.createTopics({ waitForLeaders: false, topics }), { withinMs: 60_000 });
  // kafkajs gives up waiting for leaders when the broker has not heard of the new topic yet.
  await eventually(() => admin.fetchTopicOffsets(topic), { withinMs: 60_000 });
  return topic;
}

/** Retention, without waiting for it. */
export async function deleteRecords(admin: Admin, topic: string, before: number): Promise<void> {
  await admin.fetchTopicOffsets(topic); // kafkajs finds the leader only of topics that it was asked about before
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(before) }] });
}

/** A record for each value, one after the other. */
export async function append(producer: Producer, topic: string, values: readonly string[]): Promise<void> {
  for (const value of values) await producer.send({ topic, acks: -1, messages: [{ value }] });
}
