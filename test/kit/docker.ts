import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { type Child, runToEnd, startChild } from './child.ts';
import type { Progress } from './error.ts';
import { guardContainer } from './guard.ts';
import type { LogRing } from './log.ts';

// The second choice, for machines without Java and Maven (or without binaries of Postgres): the same servers in Docker.

/** Whether there is a Docker that answers. */
export function dockerWorks(): boolean {
  return spawnSync('docker', ['info'], { stdio: 'ignore', timeout: 10_000 }).status === 0;
}

export interface ContainerRun {
  readonly image: string;
  /** Published on 127.0.0.1 under the same number. */
  readonly port: number;
  /** Published in the same way. */
  readonly morePorts?: readonly number[];
  readonly env?: Readonly<Record<string, string>>;
  readonly mounts?: Readonly<Record<string, string>>;
  readonly user?: string | undefined;
  readonly args: readonly string[];
}

/** A container that is made by its first launch and started again, on its own data, by later ones. */
export interface Container {
  launch(run: ContainerRun, io: { log: LogRing; onLine: (line: string) => void }): Child;
  remove(): Promise<void>;
}

const ended = 'SIGKILL';

/** Fetches an image, unless it is there. */
export async function pullImage(image: string, progress: Progress): Promise<void> {
  if (spawnSync('docker', ['image', 'inspect', image], { stdio: 'ignore' }).status === 0) return;
  progress(`fetching the Docker image ${image}`);
  await runToEnd('docker', ['pull', '--quiet', image]);
}

export function newContainer(server: string): Container {
  const base = `tidemark-${server}-${randomBytes(4).toString('hex')}`;
  let made: { name: string; port: number; unguard: () => void } | undefined;
  const remove = async (): Promise<void> => {
    if (made === undefined) return;
    await runToEnd('docker', ['rm', '--force', '--volumes', made.name]);
    made.unguard();
    made = undefined;
  };
  return {
    remove,
    launch: (run, { log, onLine }) => {
      if (made !== undefined && made.port !== run.port) {
        // The first launch found its port taken: another container takes another port.
        spawnSync('docker', ['rm', '--force', '--volumes', made.name], { stdio: 'ignore' });
        made.unguard();
        made = undefined;
      }
      const again = made !== undefined;
      const name = made?.name ?? `${base}-${run.port}`;
      made ??= { name, port: run.port, unguard: guardContainer(name) };
      const child = startChild({
        command: 'docker',
        args: again ? ['start', '--attach', name] : ['run', '--name', name, ...runFlags(run), run.image, ...run.args],
        env: process.env,
        orphanSignal: ended,
        log,
        onLine,
      });
      return { ...child, signal: (signal) => signalContainer(name, signal) };
    },
  };
}

function runFlags(run: ContainerRun): string[] {
  return [
    ...[run.port, ...(run.morePorts ?? [])].map((port) => `--publish=127.0.0.1:${port}:${port}`),
    ...(run.user === undefined ? [] : ['--user', run.user]),
    ...Object.entries(run.env ?? {}).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    ...Object.entries(run.mounts ?? {}).flatMap(([host, inside]) => ['--volume', `${host}:${inside}`]),
  ];
}

/** The signals of a pause are Docker's own freezer; all others go to the first process in the container. */
function signalContainer(name: string, signal: NodeJS.Signals): void {
  const command =
    signal === 'SIGSTOP'
      ? ['pause', name]
      : signal === 'SIGCONT'
        ? ['unpause', name]
        : ['kill', '--signal', signal, name];
  // Fails where it is gone, or not paused: both are what was wanted.
  spawnSync('docker', command, { stdio: 'ignore' });
}
