import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dockerWorks, newContainer, pullImage } from './docker.ts';
import { KitError, type Progress, silent } from './error.ts';
import type { ProcessEvent, ProcessHandle } from './handle.ts';
import { installKafka, kafkaObstacle, launchBroker } from './kafka-install.ts';
import { imageEnvironment, kafkaVersion, properties, type ProxyListener } from './kafka-settings.ts';
import { type Program, startServer } from './managed.ts';
import { freePort } from './ports.ts';
import { scratchFolder } from './scratch.ts';
import { watchLines } from './watch.ts';

export interface KafkaOptions {
  /** Settings as in server.properties; they win over the kit's own. */
  readonly settings?: Readonly<Record<string, string>>;
  /**
   * Ports of proxies: for each the broker listens on one more port of its own and tells its clients there to come back to
   * the proxy. So the connections of one client can be cut, and the client never finds a way around.
   */
  readonly proxies?: readonly number[];
  /** Starts it again when it dies (default false). */
  readonly supervise?: boolean;
  readonly progress?: Progress;
  readonly onEvent?: (event: ProcessEvent) => void;
}

export interface KafkaServer extends ProcessHandle {
  readonly brokers: readonly string[];
  readonly port: number;
  /** Where each of `proxies` must lead to. */
  readonly behindProxies: readonly number[];
}

/** What its addresses are: they change while it looks for free ones. */
interface Broker extends Program {
  readonly behindProxies: () => readonly number[];
}

/** Starts a Kafka of its own (one node, both roles) on free ports of the loopback interface. Topics are not made by themselves. */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaServer> {
  const program = await choose(options);
  const server = await startServer(program, {
    name: 'kafka',
    stopSignal: 'SIGTERM',
    graceMs: 10_000,
    startTimeoutMs: 60_000,
    supervise: options.supervise ?? false,
    onEvent: options.onEvent,
  });
  const port = program.port();
  return Object.assign(server, { brokers: [`127.0.0.1:${port}`], port, behindProxies: program.behindProxies() });
}

function choose(options: KafkaOptions): Promise<Broker> {
  const obstacle = kafkaObstacle();
  if (obstacle === undefined) return processProgram(options);
  if (dockerWorks()) return containerProgram(options);
  throw new KitError(
    `Kafka cannot be started: ${obstacle}, and Docker does not answer. Install Java 17 and Maven (apt install openjdk-17-jre-headless maven, brew install openjdk maven), or Docker, or set TIDEMARK_TEST_KAFKA_BROKERS.`,
  );
}

/** A port of the broker's own for each proxy. */
async function listenersFor(proxies: readonly number[]): Promise<ProxyListener[]> {
  const listeners: ProxyListener[] = [];
  for (const advertised of proxies) listeners.push({ port: await freePort(), advertised });
  return listeners;
}

async function processProgram({ settings: more, proxies = [], progress = silent }: KafkaOptions): Promise<Broker> {
  const { jvm, template } = await installKafka(progress);
  const scratch = scratchFolder('kafka');
  const folder = scratch.path;
  const config = join(folder, 'server.properties');
  const data = join(folder, 'data');
  await cp(template, data, { recursive: true });
  let port = 0;
  let listeners: readonly ProxyListener[] = [];
  const choosePorts = async (): Promise<void> => {
    port = await freePort();
    listeners = await listenersFor(proxies);
    await writeFile(config, properties({ data, port, controllerPort: await freePort(), listeners, more }));
  };
  await choosePorts();
  return {
    port: () => port,
    behindProxies: () => listeners.map((listener) => listener.port),
    choosePorts,
    launch: (log) => launchBroker({ jvm, config, folder, log }),
    remove: () => scratch.remove(),
  };
}

async function containerProgram({ settings: more, proxies = [], progress = silent }: KafkaOptions): Promise<Broker> {
  const image = `apache/kafka:${kafkaVersion}`;
  await pullImage(image, progress);
  const container = newContainer('kafka');
  let port = await freePort();
  let listeners = await listenersFor(proxies);
  const behindProxies = (): number[] => listeners.map((listener) => listener.port);
  return {
    port: () => port,
    behindProxies,
    choosePorts: async () => {
      port = await freePort();
      listeners = await listenersFor(proxies);
    },
    launch: (log) => {
      const watch = watchLines((line) => (line.includes('Kafka Server started') ? true : undefined));
      const env = imageEnvironment({ port, controllerPort: port - 1, host: '0.0.0.0', listeners, more });
      const run = { image, port, morePorts: behindProxies(), env, args: [] };
      const child = container.launch(run, { log, onLine: watch.take });
      return { child, ready: watch.found.then(() => undefined) };
    },
    remove: () => container.remove(),
  };
}
