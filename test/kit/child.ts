import { spawn } from 'node:child_process';
import type { Account } from './account.ts';
import { KitError } from './error.ts';
import { guardProcess } from './guard.ts';
import { type LogRing, eachLine } from './log.ts';

export interface ChildSpec {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  readonly owner?: Account | undefined;
  /** What it gets first when the process that started it is gone (SIGKILL follows after 3 s). */
  readonly orphanSignal: NodeJS.Signals;
  readonly log: LogRing;
  /** Sees each line of stdout and stderr as it comes. */
  readonly onLine?: (line: string) => void;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One run of a program. */
export interface Child {
  readonly pid: number;
  /** Sends a signal; nothing happens when it is gone already. */
  signal(signal: NodeJS.Signals): void;
  /** Settles when the process is gone and its output is read. */
  readonly exited: Promise<Exit>;
}

/** Starts a program in a session of its own, under the guard, with its output read line by line. */
export function startChild(spec: ChildSpec): Child {
  const child = spawn(spec.command, spec.args, {
    cwd: spec.cwd,
    env: spec.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    ...(spec.owner === undefined ? {} : { uid: spec.owner.uid, gid: spec.owner.gid }),
  });
  const take = (line: string): void => {
    spec.log.add(line);
    spec.onLine?.(line);
  };
  eachLine(child.stdout, take);
  eachLine(child.stderr, take);
  if (child.pid === undefined) {
    const failed = new Promise<Exit>((_, reject) => {
      child.once('error', (error) => reject(new KitError(`${spec.command} does not start: ${error.message}.`)));
    });
    failed.catch(() => undefined);
    return { pid: -1, signal: () => undefined, exited: failed };
  }
  const unguard = guardProcess(child.pid, spec.orphanSignal);
  const exited = new Promise<Exit>((resolve) => {
    child.once('close', (code, signal) => {
      unguard();
      resolve({ code, signal });
    });
  });
  child.on('error', (error) => take(`(signal could not be sent: ${error.message})`));
  const { pid } = child;
  return { pid, signal: (signal) => signalIfThere(pid, signal), exited };
}

/** Sends a signal to a process; nothing happens when it is gone already. */
export function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Runs a program to its end. Answers its output; throws a KitError with its last lines when it fails. */
export function runToEnd(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; owner?: Account | undefined } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const { owner, ...rest } = options;
    const child = spawn(command, args, {
      ...rest,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(owner === undefined ? {} : { uid: owner.uid, gid: owner.gid }),
    });
    let output = '';
    const take = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-100_000);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.once('error', (error) => reject(new KitError(`${command} does not start: ${error.message}.`)));
    child.once('close', (code, signal) => {
      if (code === 0) resolve(output);
      else
        reject(
          new KitError(
            `${command} ${args.join(' ')} failed (${signal ?? `exit code ${code}`}):\n${output.trim().split('\n').slice(-20).join('\n')}`,
          ),
        );
    });
  });
}
