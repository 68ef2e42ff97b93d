import { createKafka, createLogger } from '@tidemark/runtime';
import { expect, it } from 'vitest';
import { KafkaFeed } from './kafka-feed.ts';

it('replaces a reader that calls nobody, and ends when it is told to', async () => {
  const logger = createLogger({ service: 'test', instance: 'test', level: 'silent' });
  const kafka = createKafka({ brokers: ['127.0.0.1:1'], tls: false, clientId: 'test', logger });
  const feed = new KafkaFeed({ kafka, topic: 'nowhere', logger, fetchIntervalMs: 0, silenceMs: 100 });
  const heard: string[] = [];
  feed.start({
    record: () => heard.push('record'),
    reset: () => heard.push('reset'),
    heard: () => heard.push('heard'),
  });
  await expect.poll(() => feed.restarts).toBeGreaterThan(1);
  await feed.stop();
  expect([feed.isConnected, heard]).toEqual([false, []]);
});
