import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { startChild } from './child.ts';
import { dockerWorks, newContainer, pullImage } from './docker.ts';
import { KitError, type Progress, silent } from './error.ts';
import type { ProcessEvent, ProcessHandle } from './handle.ts';
import { type Program, startServer } from './managed.ts';
import { environmentOf, memcachedCommand } from './memcached-install.ts';
import { freePort } from './ports.ts';

export interface MemcachedOptions {
  /** Further arguments, as `-m 1` or `-I 2m`. */
  readonly args?: readonly string[];
  /** Starts it again when it dies (default false). */
  readonly supervise?: boolean;
  readonly progress?: Progress;
  readonly onEvent?: (event: ProcessEvent) => void;
}

export interface MemcachedServer extends ProcessHandle {
  readonly url: string;
  readonly port: number;
  /** `flush_all`: everything is gone. */
  flush(): Promise<void>;
  /** A command of one line, as `version`; answers the first line. */
  ask(command: string): Promise<string>;
}

const image = 'memcached:1.6';

/** Starts a memcached of its own on a free port of the loopback interface; a restart loses what it held. */
export async function startMemcached(options: MemcachedOptions = {}): Promise<MemcachedServer> {
  const program = await choose(options);
  const server = await startServer(program, {
    name: 'memcached',
    // It has nothing to save, and takes a second to notice anything gentler.
    stopSignal: 'SIGKILL',
    graceMs: 1_000,
    startTimeoutMs: 60_000,
    supervise: options.supervise ?? false,
    onEvent: options.onEvent,
  });
  return Object.assign(server, {
    url: `memcached://127.0.0.1:${program.port()}`,
    port: program.port(),
    flush: async () => void (await said(program.port(), 'flush_all')),
    ask: (command: string) => said(program.port(), command),
  });
}

async function choose(options: MemcachedOptions): Promise<Program> {
  const { progress = silent } = options;
  const found = await memcachedCommand(progress);
  if (found === undefined && !dockerWorks()) {
    throw new KitError(
      'memcached cannot be started: there is none in PATH, no apt to fetch it, and Docker does not answer. Install memcached (apt install memcached, brew install memcached), or put it into PATH.',
    );
  }
  if (found === undefined) await pullImage(image, progress);
  let port = await freePort();
  const container = newContainer('memcached');
  const launch: Program['launch'] = (log) => {
    // As root it wants a user to become; what it holds is nobody's secret.
    const user = process.getuid?.() === 0 ? ['-u', 'root'] : [];
    const own = ['-p', `${port}`, '-U', '0', ...user, ...(options.args ?? [])];
    const child =
      found === undefined
        ? container.launch({ image, port, args: ['memcached', ...own] }, { log, onLine: () => undefined })
        : startChild({
            command: found.command,
            args: ['-l', '127.0.0.1', ...own],
            env: environmentOf(found.libraries),
            orphanSignal: 'SIGKILL',
            log,
          });
    return { child, ready: answers(port, child.exited) };
  };
  return {
    port: () => port,
    choosePorts: async () => {
      port = await freePort();
    },
    launch,
    remove: () => container.remove(),
  };
}

/** Settles once it answers; rejects when it ended before. */
async function answers(port: number, exited: Promise<unknown>): Promise<void> {
  let hasEnded = false;
  void exited.then(
    () => (hasEnded = true),
    () => (hasEnded = true),
  );
  while (!hasEnded) {
    try {
      await said(port, 'version');
      return;
    } catch {
      await wait(20);
    }
  }
  throw new KitError('memcached ended before it answered.');
}

/** The first line that it answers to a command. */
async function said(port: number, command: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.setTimeout(1_000, () => socket.destroy(new Error('no answer within 1 s')));
  const closed = new AbortController();
  socket.once('close', () => closed.abort());
  try {
    socket.write(`${command}\r\n`);
    const [answer] = (await once(socket, 'data', { signal: closed.signal })) as [Buffer];
    return answer.toString('latin1').trim();
  } finally {
    socket.destroy();
  }
}
