import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { cacheFolder } from './cache.ts';
import { runToEnd } from './child.ts';
import { KitError } from './error.ts';

/** A Maven artifact, as group:artifact:version. */
export type Artifact = `${string}:${string}:${string}`;

const dependencyPlugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';

/** The java command, from JAVA_HOME or PATH. */
export function javaCommand(): string {
  const home = process.env['JAVA_HOME'];
  return home !== undefined && existsSync(join(home, 'bin', 'java')) ? join(home, 'bin', 'java') : 'java';
}

interface JavaVersion {
  readonly line: string;
  readonly major: number;
}

let known: { readonly version: JavaVersion | undefined } | undefined;

/** The version of the Java in use, or nothing where there is none. */
export function javaVersion(): JavaVersion | undefined {
  known ??= { version: askJava() };
  return known.version;
}

function askJava(): JavaVersion | undefined {
  const result = spawnSync(javaCommand(), ['-version'], { encoding: 'utf8' });
  if (result.status !== 0) return undefined;
  const line = result.stderr.trim().replaceAll('\n', ' ');
  return { line, major: Number(/version "(\d+)/.exec(line)?.[1] ?? 0) };
}

export function hasMaven(): boolean {
  return spawnSync('mvn', ['--version'], { stdio: 'ignore' }).status === 0;
}

async function maven(
  goal: string,
  folder: string,
  options: { artifacts: readonly Artifact[]; without: readonly string[]; args: readonly string[] },
): Promise<void> {
  const excluded = options.without.map((pattern) => {
    const [group, name] = pattern.split(':');
    return `<exclusion><groupId>${group}</groupId><artifactId>${name}</artifactId></exclusion>`;
  });
  const exclusions = excluded.length === 0 ? '' : `<exclusions>${excluded.join('')}</exclusions>`;
  const dependencies = options.artifacts.map((artifact) => {
    const [group, name, version] = artifact.split(':');
    return `<dependency><groupId>${group}</groupId><artifactId>${name}</artifactId><version>${version}</version>${exclusions}</dependency>`;
  });
  const pom = join(folder, 'pom.xml');
  await writeFile(
    pom,
    `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>tidemark</groupId><artifactId>kit</artifactId><version>1</version><dependencies>${dependencies.join('')}</dependencies></project>\n`,
  );
  try {
    await runToEnd(
      'mvn',
      ['-B', '-ntp', '-q', ...localRepository(), '-f', pom, `${dependencyPlugin}:${goal}`, ...options.args],
      { cwd: folder },
    );
  } catch (error) {
    throw new KitError(
      `Maven could not fetch ${options.artifacts.join(', ')}: check the network and Maven's settings.xml (mirror, proxy). ${(error as Error).message}`,
    );
  }
}

/** Maven keeps what it fetches in ~/.m2; for an account without a writable home, in the cache. */
function localRepository(): string[] {
  try {
    accessSync(userInfo().homedir, constants.W_OK); // Java's idea of home, which the environment does not change
    return [];
  } catch {
    return [`-Dmaven.repo.local=${join(cacheFolder(), 'maven')}`];
  }
}

/**
 * Puts the jars of the artifacts and of all they depend on into `folder`/libs.
 * @param options.without group:artifact of what they can do without, and whatever only that depends on; `*` stands for any
 */
export function mavenJars(
  folder: string,
  artifacts: readonly Artifact[],
  { without = [] }: { readonly without?: readonly string[] } = {},
): Promise<void> {
  return maven('copy-dependencies', folder, {
    artifacts,
    without,
    args: [`-DoutputDirectory=${join(folder, 'libs')}`],
  });
}

/** The command that puts one jar into `folder`/libs, for a container that holds nothing but Maven. */
export function mavenCopy(artifact: Artifact, folder: string): string[] {
  const where = ['-Dmaven.repo.local=/tmp/maven', `-DoutputDirectory=${join(folder, 'libs')}`];
  return ['mvn', '-B', '-ntp', '-q', `${dependencyPlugin}:copy`, `-Dartifact=${artifact}`, ...where];
}

/** Unpacks the files of one artifact that match an Ant pattern into `folder`/files. */
export function mavenFiles(folder: string, artifact: Artifact, pattern: string): Promise<void> {
  return maven('unpack-dependencies', folder, {
    artifacts: [artifact],
    without: ['*:*'],
    args: [`-DoutputDirectory=${join(folder, 'files')}`, `-Dmdep.unpack.includes=${pattern}`],
  });
}
