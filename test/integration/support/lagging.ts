import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createKafka, createLogger, RecordReader } from '@tidemark/runtime';
import { scratchFolder, type Stack } from '../../kit/index.ts';
import { createTopic } from '../../kit/names.ts';
import { App } from './app.ts';

/** A sidecar whose stream lags behind as long as a test wants: it follows a copy of the topic. */
export class LaggingSidecar {
  readonly app: App;
  readonly #gate: { flowing: Promise<void> };
  readonly #cleanups: readonly (() => Promise<unknown>)[];

  private constructor(app: App, gate: { flowing: Promise<void> }, cleanups: readonly (() => Promise<unknown>)[]) {
    this.app = app;
    this.#gate = gate;
    this.#cleanups = cleanups;
  }

  static async start(stack: Stack): Promise<LaggingSidecar> {
    const folder = scratchFolder('lagging');
    const gate = { flowing: Promise.resolve() };
    const topic = `${stack.topic}.copy`;
    await createTopic(stack.servers, topic, {});
    const logger = createLogger({ service: 'test', instance: 'copy', level: 'silent' });
    const kafka = createKafka({ brokers: stack.brokers, tls: false, clientId: 'copy', logger });
    const producer = kafka.producer();
    await producer.connect();
    const reader = new RecordReader({
      kafka,
      topic: stack.topic,
      start: { from: 'newest-record' },
      logger,
      onReset: () => undefined,
      onRecords: async ({ records }) => {
        await gate.flowing;
        const messages = records.map(({ value }) => ({ value: Buffer.from(value) }));
        if (messages.length > 0) await producer.send({ topic, acks: -1, messages });
      },
    });
    const config = join(folder.path, 'copy.yaml');
    await writeFile(config, (await readFile(stack.configFile, 'utf8')).replace(stack.topic, topic));
    const sidecar = await stack.addSidecar({ TIDEMARK_CONFIG: config, TIDEMARK_MAX_STALENESS: '60s' });
    const cleanups = [() => reader.stop(), () => producer.disconnect(), () => folder.remove()];
    return new LaggingSidecar(new App(sidecar.url), gate, cleanups);
  }

  /** Holds the copy back until the answer is called. */
  holdBack(): () => void {
    const gate = Promise.withResolvers<void>();
    this.#gate.flowing = gate.promise;
    return gate.resolve;
  }

  /** Ends the copying; the sidecar belongs to the stack. */
  async stop(): Promise<void> {
    for (const cleanup of this.#cleanups) await cleanup();
  }
}
