import { createHash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { cp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, cacheFolder } from './cache.ts';
import { runToEnd, startChild } from './child.ts';
import type { Progress } from './error.ts';
import { kafkaVersion, properties } from './kafka-settings.ts';
import type { LogRing } from './log.ts';
import { ManagedProcess, type ManagedSpec, startOrRemove } from './managed.ts';
import { type Artifact, hasMaven, javaCommand, javaVersion, mavenJars } from './maven.ts';
import { freePort } from './ports.ts';
import { watchLines } from './watch.ts';

const log4jVersion = '2.24.3';
const artifacts: readonly Artifact[] = [
  `org.apache.kafka:kafka_2.13:${kafkaVersion}`,
  `org.apache.logging.log4j:log4j-slf4j-impl:${log4jVersion}`,
  `org.apache.logging.log4j:log4j-core:${log4jVersion}`,
];
const jarsEntry = `kafka-${kafkaVersion}`;

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

/** What keeps Kafka from running as a process here; nothing where it can. */
export function kafkaObstacle(): string | undefined {
  const java = javaVersion();
  if (java === undefined) return 'there is no Java';
  if (java.major < 17) return `Java 17 or newer is needed and this is ${java.line}`;
  if (!existsSync(join(cacheFolder(), jarsEntry)) && !hasMaven()) return 'Maven, which fetches it, is missing';
  return undefined;
}

export interface KafkaInstallation {
  /** Arguments of java before the main class. */
  readonly jvm: readonly string[];
  /** A formatted data folder to copy from. */
  readonly template: string;
}

/** Fetches Kafka into the cache and prepares it there; at once where that was done before. */
export async function installKafka(progress: Progress): Promise<KafkaInstallation> {
  const folder = await cached(jarsEntry, async (draft) => {
    progress(`fetching Kafka ${kafkaVersion} with Maven (43 MB, once)`);
    await mavenJars(draft, artifacts);
    await writeFile(join(draft, 'log4j2.properties'), logging);
  });
  const libs = join(folder, 'libs');
  const jars = readdirSync(libs).toSorted();
  const classpath = jars.map((jar) => join(libs, jar)).join(':');
  // Only the first compiler: a broker that lives for minutes never earns back what the second one costs (a third of a start).
  const memory = ['-Xms128m', '-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto'];
  const log4j = `-Dlog4j2.configurationFile=${join(folder, 'log4j2.properties')}`;
  const jvm = [...memory, log4j, '-cp', classpath];
  // The archive of loaded classes (JEP 350) fits one Java and one class path only.
  const key = createHash('sha256').update(`${javaVersion()?.line}\n${classpath}`).digest('hex').slice(0, 8);
  const prepared = await cached(`${jarsEntry}-prepared-${key}`, (draft) => prepare(draft, jvm, progress));
  const archive = [`-XX:SharedArchiveFile=${join(prepared, 'classes.jsa')}`, '-Xlog:disable'];
  return { jvm: [...archive, ...jvm], template: join(prepared, 'data') };
}

/** Formats a data folder, then runs the broker once to record which classes it loads: later starts take half the time. */
async function prepare(draft: string, jvm: readonly string[], progress: Progress): Promise<void> {
  progress('preparing Kafka for fast starts (once)');
  const config = join(draft, 'server.properties');
  const data = join(draft, 'data');
  const template = join(draft, 'template');
  await writeFile(config, properties({ data, port: await freePort(), controllerPort: await freePort() }));
  const format = ['kafka.tools.StorageTool', 'format', '-t', 'dGlkZW1hcmsta2l0LWthZg', '-c', config];
  await runToEnd(javaCommand(), [...jvm, ...format]);
  await cp(data, template, { recursive: true });
  const archive = [`-XX:ArchiveClassesAtExit=${join(draft, 'classes.jsa')}`, '-Xlog:disable'];
  const trial = new ManagedProcess({
    name: 'kafka (preparation)',
    stopSignal: 'SIGTERM',
    graceMs: 60_000,
    startTimeoutMs: 60_000,
    supervise: false,
    launch: (log) => launchBroker({ jvm: [...archive, ...jvm], config, folder: draft, log }),
  });
  await startOrRemove(trial);
  await trial.stop();
  await rm(data, { recursive: true });
  await cp(template, data, { recursive: true });
  await rm(template, { recursive: true });
}

export function launchBroker(options: {
  readonly jvm: readonly string[];
  readonly config: string;
  readonly folder: string;
  readonly log: LogRing;
}): ReturnType<ManagedSpec['launch']> {
  const watch = watchLines((line) => (line.includes('Kafka Server started') ? true : undefined));
  const child = startChild({
    command: javaCommand(),
    args: [...options.jvm, 'kafka.Kafka', options.config],
    cwd: options.folder,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], TZ: 'UTC' },
    orphanSignal: 'SIGKILL',
    log: options.log,
    onLine: watch.take,
  });
  return { child, ready: watch.found.then(() => undefined) };
}
