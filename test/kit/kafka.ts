import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { cp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cached } from './cache.ts';
import { runToEnd, startChild } from './child.ts';
import { KitError, type Progress, silent } from './error.ts';
import type { LogRing } from './log.ts';
import type { ProcessEvent, ProcessHandle } from './handle.ts';
import { ManagedProcess, startOrRemove } from './managed.ts';
import { type Artifact, hasMaven, javaCommand, javaVersion, mavenJars } from './maven.ts';
import { freePort } from './ports.ts';
import { scratchFolder } from './scratch.ts';
import { watchLines } from './watch.ts';

export interface KafkaOptions {
  /** Settings as in server.properties; they win over the kit's own. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Starts it again when it dies (default false). */
  readonly supervise?: boolean;
  readonly progress?: Progress;
  readonly onEvent?: (event: ProcessEvent) => void;
}

export interface KafkaServer extends ProcessHandle {
  readonly brokers: readonly string[];
  readonly port: number;
}

const kafkaVersion = '4.3.1';
const log4jVersion = '2.24.3';
const artifacts: readonly Artifact[] = [
  `org.apache.kafka:kafka_2.13:${kafkaVersion}`,
  `org.apache.logging.log4j:log4j-slf4j-impl:${log4jVersion}`,
  `org.apache.logging.log4j:log4j-core:${log4jVersion}`,
];

/** What one broker needs to be small and to come back soon; Kafka's defaults are for clusters. */
const defaults: Readonly<Record<string, string>> = {
  'process.roles': 'broker,controller',
  'node.id': '1',
  'controller.listener.names': 'CONTROLLER',
  'inter.broker.listener.name': 'PLAINTEXT',
  'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
  'auto.create.topics.enable': 'false',
  'offsets.topic.num.partitions': '1',
  'offsets.topic.replication.factor': '1',
  'transaction.state.log.num.partitions': '1',
  'transaction.state.log.replication.factor': '1',
  'transaction.state.log.min.isr': '1',
  'share.coordinator.state.topic.num.partitions': '1',
  'share.coordinator.state.topic.replication.factor': '1',
  'share.coordinator.state.topic.min.isr': '1',
  'group.initial.rebalance.delay.ms': '0',
  // With the default of 9 s a broker that was killed waits that long for its own old session.
  'broker.session.timeout.ms': '1000',
  'broker.heartbeat.interval.ms': '250',
  // Retention is looked at soon, so that a test can sleep through it.
  'log.retention.check.interval.ms': '500',
  'log.segment.delete.delay.ms': '100',
  'log.initial.task.delay.ms': '500',
};

const logging = `status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
`;

interface Broker {
  readonly folder: string;
  readonly port: number;
  readonly controllerPort: number;
  readonly settings?: Readonly<Record<string, string>> | undefined;
}

function properties({ folder, port, controllerPort, settings }: Broker): string {
  const all = {
    ...defaults,
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'log.dirs': join(folder, 'data'),
    ...settings,
  };
  return Object.entries(all)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

async function jars(progress: Progress): Promise<string> {
  const folder = await cached(`kafka-${kafkaVersion}`, async (draft) => {
    if (!hasMaven())
      throw new KitError(
        'Kafka is missing and is fetched with Maven, which is missing too: install it (apt install maven, brew install maven), or Docker, or set TIDEMARK_TEST_KAFKA_BROKERS.',
      );
    progress(`fetching Kafka ${kafkaVersion} with Maven (43 MB, once)`);
    await mavenJars(draft, artifacts);
    await writeFile(join(draft, 'log4j2.properties'), logging);
  });
  return folder;
}

interface Installation {
  /** Arguments of java before the main class. */
  readonly jvm: readonly string[];
  /** A formatted data folder to copy from. */
  readonly template: string;
}

async function installation(progress: Progress): Promise<Installation> {
  const java = javaVersion();
  if (java === undefined || java.major < 17) {
    throw new KitError(
      `Kafka needs Java 17 or newer and ${java === undefined ? 'there is none' : `this is ${java.line}`}: install it (apt install openjdk-17-jre-headless, brew install openjdk), or Docker, or set TIDEMARK_TEST_KAFKA_BROKERS.`,
    );
  }
  const folder = await jars(progress);
  const libs = join(folder, 'libs');
  const classpath = readdirSync(libs)
    .toSorted()
    .map((jar) => join(libs, jar))
    .join(':');
  const jvm = [
    '-Xms128m',
    '-Xmx512m',
    '-XX:+UseSerialGC',
    '-Xshare:auto',
    `-Dlog4j2.configurationFile=${join(folder, 'log4j2.properties')}`,
    '-cp',
    classpath,
  ];
  // The archive of loaded classes (JEP 350) fits one Java and one class path only.
  const key = createHash('sha256').update(`${java.line}\n${classpath}`).digest('hex').slice(0, 8);
  const prepared = await cached(`kafka-${kafkaVersion}-prepared-${key}`, (draft) => prepare(draft, jvm, progress));
  return {
    jvm: [`-XX:SharedArchiveFile=${join(prepared, 'classes.jsa')}`, '-Xlog:disable', ...jvm],
    template: join(prepared, 'data'),
  };
}

/** Formats a data folder, then runs the broker once to record which classes it loads: later starts take half the time. */
async function prepare(draft: string, jvm: readonly string[], progress: Progress): Promise<void> {
  progress('preparing Kafka for fast starts (once)');
  const config = join(draft, 'server.properties');
  const broker = { folder: draft, port: await freePort(), controllerPort: await freePort() };
  await writeFile(config, properties(broker));
  await runToEnd(javaCommand(), [
    ...jvm,
    'kafka.tools.StorageTool',
    'format',
    '-t',
    'dGlkZW1hcmsta2l0LWthZg',
    '-c',
    config,
  ]);
  const template = join(draft, 'template');
  await cp(join(draft, 'data'), template, { recursive: true });
  const trial = new ManagedProcess({
    name: 'kafka (preparation)',
    stopSignal: 'SIGTERM',
    graceMs: 60_000,
    startTimeoutMs: 60_000,
    supervise: false,
    launch: (log) =>
      launchBroker({
        jvm: [`-XX:ArchiveClassesAtExit=${join(draft, 'classes.jsa')}`, '-Xlog:disable', ...jvm],
        config,
        cwd: draft,
        log,
      }),
  });
  await startOrRemove(trial);
  await trial.stop();
  await rm(join(draft, 'data'), { recursive: true });
  await cp(template, join(draft, 'data'), { recursive: true });
  await rm(template, { recursive: true });
}

function launchBroker(options: { jvm: readonly string[]; config: string; cwd: string; log: LogRing }) {
  const watch = watchLines((line) => (line.includes('Kafka Server started') ? true : undefined));
  const child = startChild({
    command: javaCommand(),
    args: [...options.jvm, 'kafka.Kafka', options.config],
    cwd: options.cwd,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], TZ: 'UTC' },
    orphanSignal: 'SIGKILL',
    log: options.log,
    onLine: watch.take,
  });
  return { child, ready: watch.found.then(() => undefined) };
}

/** Starts a Kafka of its own (one node, both roles) on free ports of the loopback interface. Topics are not made by themselves. */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaServer> {
  const { jvm, template } = await installation(options.progress ?? silent);
  const scratch = scratchFolder('kafka');
  const config = join(scratch.path, 'server.properties');
  await cp(template, join(scratch.path, 'data'), { recursive: true });
  let port = 0;
  const choosePorts = async (): Promise<void> => {
    port = await freePort();
    await writeFile(
      config,
      properties({ folder: scratch.path, port, controllerPort: await freePort(), settings: options.settings }),
    );
  };
  await choosePorts();
  const server = new ManagedProcess({
    name: 'kafka',
    stopSignal: 'SIGTERM',
    graceMs: 10_000,
    startTimeoutMs: 60_000,
    supervise: options.supervise ?? false,
    onEvent: options.onEvent,
    afterStop: () => scratch.remove(),
    beforeRetry: choosePorts,
    launch: (log) => launchBroker({ jvm, config, cwd: scratch.path, log }),
  });
  await startOrRemove(server);
  return Object.assign(server, { brokers: [`127.0.0.1:${port}`], port });
}
