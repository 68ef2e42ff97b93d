import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createKafka, createLogger, RecordReader } from '@tidemark/runtime';
import { type Environment, scratchFolder, type SidecarHandle, type Stack } from '../../kit/index.ts';
import { createTopic } from '../../kit/names.ts';
import { App } from './app.ts';

/** A sidecar whose stream lags behind as long as a test wants: it follows a copy of the topic. */
export class LaggingSidecar {
  readonly app: App;
  readonly #stack: Stack;
  readonly #config: string;
  readonly #gate: { flowing: Promise<void> };
  readonly #cleanups: readonly (() => Promise<unknown>)[];

  private constructor(of: {
    app: App;
    stack: Stack;
    config: string;
    gate: { flowing: Promise<void> };
    cleanups: readonly (() => Promise<unknown>)[];
  }) {
    this.app = of.app;
    this.#stack = of.stack;
    this.#config = of.config;
    this.#gate = of.gate;
    this.#cleanups = of.cleanups;
  }

  /** @param env more of the sidecar's */
  static async start(stack: Stack, env: Environment = {}): Promise<LaggingSidecar> {
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
    const { url } = await following(stack, config, env);
    const cleanups = [() => reader.stop(), () => producer.disconnect(), () => folder.remove()];
    return new LaggingSidecar({ app: new App(url), stack, config, gate, cleanups });
  }

  /** One more sidecar that lags behind together with this one. */
  another(env: Environment = {}): Promise<SidecarHandle> {
    return following(this.#stack, this.#config, env);
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

function following(stack: Stack, config: string, env: Environment): Promise<SidecarHandle> {
  // It hears nothing for as long as a test takes.
  return stack.addSidecar({ TIDEMARK_CONFIG: config, TIDEMARK_MAX_STALENESS: '10m', ...env });
}
