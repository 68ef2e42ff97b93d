import { fileURLToPath } from 'node:url';
import { startChild } from './child.ts';
import type { ProcessEvent, ProcessHandle } from './handle.ts';
import { ManagedProcess } from './managed.ts';
import { watchLines } from './watch.ts';

/** The programs of this project. */
export type Role = 'invalidator' | 'applier' | 'sidecar';

const programs: Readonly<Record<Role, { readonly script: string; readonly args: readonly string[] }>> = {
  invalidator: { script: 'invalidator/src/main.ts', args: ['run'] },
  applier: { script: 'invalidator/src/main.ts', args: ['apply'] },
  sidecar: { script: 'sidecar/src/main.ts', args: [] },
};

export interface TidemarkOptions {
  readonly role: Role;
  /** Its name in logs and events. */
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  readonly supervise: boolean;
  readonly onEvent?: ((event: ProcessEvent) => void) | undefined;
}

/** The fields of the `listening` log line: the addresses that a process has bound. */
export type Bound = Readonly<Record<string, string>>;

/** One process of ours. */
export interface TidemarkProcess extends ProcessHandle {
  /** The addresses it said it listens on, of its newest start. */
  readonly bound: Bound;
}

/** A log line of ours (pino), or nothing for any other line. */
function record(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

// The surroundings of a test run (vitest's own variables, TIDEMARK_TEST_*) are none of a service's business.
const passedOn = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'NODE_V8_COVERAGE', 'NODE_EXTRA_CA_CERTS'];

/** Prepares a process of ours; `start` starts it. It is ready when it has logged `ready`. */
export function tidemarkProcess(options: TidemarkOptions): ManagedProcess & TidemarkProcess {
  const program = programs[options.role];
  const script = fileURLToPath(new URL(`../../${program.script}`, import.meta.url));
  const inherited = Object.fromEntries(passedOn.map((name) => [name, process.env[name]]));
  const state: { bound: Bound } = { bound: {} };
  const handle = new ManagedProcess({
    name: options.name,
    stopSignal: 'SIGTERM',
    graceMs: 15_000,
    startTimeoutMs: 45_000,
    restartTimeoutMs: 600_000,
    // Its ports are its own and its servers are up: a first start that fails will fail again.
    startAttempts: 1,
    supervise: options.supervise,
    onEvent: options.onEvent,
    launch: (log) => {
      const listening = watchLines((line) => {
        const fields = record(line);
        return fields?.['msg'] === 'listening' ? fields : undefined;
      });
      const ready = watchLines((line) => (record(line)?.['msg'] === 'ready' ? true : undefined));
      const child = startChild({
        command: process.execPath,
        args: ['--disable-warning=ExperimentalWarning', script, ...program.args],
        env: { ...inherited, TIDEMARK_INSTANCE: options.name, ...options.env },
        orphanSignal: 'SIGKILL',
        log,
        onLine: (line) => {
          listening.take(line);
          ready.take(line);
        },
      });
      const bound = listening.found.then((fields) => {
        state.bound = Object.fromEntries(
          Object.entries(fields).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
        );
      });
      return { child, ready: Promise.all([bound, ready.found]).then(() => undefined) };
    },
  });
  return Object.defineProperty(handle, 'bound', { get: () => state.bound }) as ManagedProcess & TidemarkProcess;
}
