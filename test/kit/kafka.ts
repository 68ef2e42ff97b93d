import { readFileSync } from 'node:fs';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CertificateFiles } from './certificates.ts';
import { dockerWorks, newContainer, pullImage } from './docker.ts';
import { KitError, type Progress, silent } from './error.ts';
import type { ProcessEvent, ProcessHandle } from './handle.ts';
import { installKafka, kafkaObstacle, launchBroker } from './kafka-install.ts';
import {
  imageEnvironment,
  kafkaVersion,
  properties,
  type ProxyListener,
  type SecureListener,
} from './kafka-settings.ts';
import { addScramUsers } from './kafka-users.ts';
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
  /** One more listener, that speaks TLS and lets these users in (name to password) with PLAIN and SCRAM. */
  readonly secure?: { readonly tls: CertificateFiles; readonly users: Readonly<Record<string, string>> };
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
  /** Where `secure` listens; empty without it. */
  readonly secureBrokers: readonly string[];
}

/** What its addresses are: they change while it looks for free ones. */
interface Broker extends Program {
  readonly behindProxies: () => readonly number[];
  readonly secure: () => SecureListener | undefined;
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
  const secure = program.secure();
  if (secure !== undefined) await addScramUsers(port, secure.users);
  return Object.assign(server, {
    brokers: [`127.0.0.1:${port}`],
    port,
    behindProxies: program.behindProxies(),
    secureBrokers: secure === undefined ? [] : [`127.0.0.1:${secure.port}`],
  });
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

async function secureListener(wanted: KafkaOptions['secure']): Promise<SecureListener | undefined> {
  if (wanted === undefined) return undefined;
  const [cert, key] = [wanted.tls.certFile, wanted.tls.keyFile].map((file) => readFileSync(file, 'utf8'));
  return { port: await freePort(), cert: cert as string, key: key as string, users: wanted.users };
}

async function processProgram(options: KafkaOptions): Promise<Broker> {
  const { settings: more, proxies = [], progress = silent } = options;
  const { jvm, template } = await installKafka(progress);
  const scratch = scratchFolder('kafka');
  const folder = scratch.path;
  const config = join(folder, 'server.properties');
  const data = join(folder, 'data');
  await cp(template, data, { recursive: true });
  let port = 0;
  let listeners: readonly ProxyListener[] = [];
  let secure: SecureListener | undefined;
  const choosePorts = async (): Promise<void> => {
    port = await freePort();
    listeners = await listenersFor(proxies);
    secure = await secureListener(options.secure);
    await writeFile(config, properties({ data, port, controllerPort: await freePort(), listeners, secure, more }));
  };
  await choosePorts();
  return {
    port: () => port,
    behindProxies: () => listeners.map((listener) => listener.port),
    secure: () => secure,
    choosePorts,
    launch: (log) => launchBroker({ jvm, config, folder, log }),
    remove: () => scratch.remove(),
  };
}

async function containerProgram(options: KafkaOptions): Promise<Broker> {
  const { settings: more, proxies = [], progress = silent } = options;
  const image = `apache/kafka:${kafkaVersion}`;
  await pullImage(image, progress);
  const container = newContainer('kafka');
  let port = await freePort();
  let listeners = await listenersFor(proxies);
  let secure = await secureListener(options.secure);
  const behindProxies = (): number[] => listeners.map((listener) => listener.port);
  return {
    port: () => port,
    behindProxies,
    secure: () => secure,
    choosePorts: async () => {
      port = await freePort();
      listeners = await listenersFor(proxies);
      secure = await secureListener(options.secure);
    },
    launch: (log) => {
      const watch = watchLines((line) => (line.includes('Kafka Server started') ? true : undefined));
      const env = imageEnvironment({ port, controllerPort: port - 1, host: '0.0.0.0', listeners, secure, more });
      const morePorts = [...behindProxies(), ...(secure === undefined ? [] : [secure.port])];
      const run = { image, port, morePorts, env, args: [] };
      const child = container.launch(run, { log, onLine: watch.take });
      return { child, ready: watch.found.then(() => undefined) };
    },
    remove: () => container.remove(),
  };
}
