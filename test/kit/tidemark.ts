import { startChild } from './child.ts';
import type { ProcessEvent } from './handle.ts';
import { ManagedProcess } from './managed.ts';
import { programOf, type Programs } from './programs.ts';
import { watchLines } from './watch.ts';

/** The programs of this project. */
export type Role = 'invalidator' | 'applier' | 'flusher' | 'webhook' | 'sidecar';

const services: Readonly<
  Record<Role, { readonly service: 'sidecar' | 'invalidator'; readonly args: readonly string[] }>
> = {
  invalidator: { service: 'invalidator', args: ['run'] },
  applier: { service: 'invalidator', args: ['apply'] },
  flusher: { service: 'invalidator', args: ['flush'] },
  webhook: { service: 'invalidator', args: ['inject'] },
  sidecar: { service: 'sidecar', args: [] },
};

export interface TidemarkOptions {
  readonly role: Role;
  /** Its name in logs and events. */
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  readonly supervise: boolean;
  readonly onEvent?: ((event: ProcessEvent) => void) | undefined;
  /** Default: bundles of the sources. */
  readonly programs?: Programs | undefined;
}

/** Whether a line is the log line (pino) with which a process of ours says that it does its job. */
function saysReady(line: string): true | undefined {
  if (!line.startsWith('{') || !line.includes('"ready"')) return undefined;
  try {
    return (JSON.parse(line) as { msg?: unknown }).msg === 'ready' ? true : undefined;
  } catch {
    return undefined;
  }
}

// The surroundings of a test run (vitest's own variables, TIDEMARK_TEST_*) are none of a service's business.
const passedOn = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'NODE_V8_COVERAGE', 'NODE_EXTRA_CA_CERTS'];

/** Prepares a process of ours; `start` starts it. It is ready when it has logged `ready`. */
export async function tidemarkProcess(options: TidemarkOptions): Promise<ManagedProcess> {
  const { service, args } = services[options.role];
  const { node = process.execPath, cwd, owner, ...program } = await (options.programs ?? programOf)(service);
  const inherited = Object.fromEntries(passedOn.map((name) => [name, process.env[name]]));
  return new ManagedProcess({
    name: options.name,
    stopSignal: 'SIGTERM',
    graceMs: 15_000,
    startTimeoutMs: 120_000,
    restartTimeoutMs: 600_000,
    // Its ports are its own and its servers are up: a first start that fails will fail again.
    startAttempts: 1,
    supervise: options.supervise,
    onEvent: options.onEvent,
    launch: (log) => {
      const watch = watchLines(saysReady);
      const child = startChild({
        command: node,
        owner,
        ...(cwd !== undefined && { cwd }),
        args: [...program.args, ...args],
        env: { ...inherited, ...program.env, TIDEMARK_INSTANCE: options.name, ...options.env },
        orphanSignal: 'SIGKILL',
        log,
        onLine: watch.take,
      });
      return { child, ready: watch.found.then(() => undefined) };
    },
  });
}
