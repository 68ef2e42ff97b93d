import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis, ReplyError } from 'ioredis';
import { startChild } from './child.ts';
import { KitError, silent } from './error.ts';
import type { ProcessHandle } from './handle.ts';
import { startServer } from './managed.ts';
import { freePort } from './ports.ts';
import { redisCommand } from './redis-install.ts';
import { scratchFolder } from './scratch.ts';
import { watchLines } from './watch.ts';

export interface RedisSentinels {
  /** As TIDEMARK_REDIS_URL has it. */
  readonly url: string;
  readonly sentinels: readonly ProcessHandle[];
  /** Port of the master that they agree on, as the first of them that answers says. */
  masterPort(): Promise<number>;
  /**
   * `SENTINEL FAILOVER`: the master is fine, and another one takes over all the same. Rejects while one is under way, or none can take
   * over. One that is given up, because the other was not a master within the failover timeout, is tried again by nobody.
   */
  failOver(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts three sentinels that watch a master under the name `shop`, and agree by two that it is gone, half a second after it is. */
export async function startSentinels(masterPort: number): Promise<RedisSentinels> {
  const command = await redisCommand(silent);
  if (command === undefined) throw new KitError('sentinels need a redis-server on this machine; Docker does not do.');
  const ports = [await freePort(), await freePort(), await freePort()];
  const sentinels = await Promise.all(ports.map((port) => startSentinel(command, port, masterPort)));
  const admins = ports.map((port) => {
    const admin = new Redis({ port, host: '127.0.0.1', protocol: 2, maxRetriesPerRequest: 1 });
    admin.on('error', () => undefined); // commands fail by themselves
    return admin;
  });
  const ask = async (...args: readonly [string, ...string[]]): Promise<unknown> => {
    for (const admin of admins) {
      try {
        return await admin.call(...args);
      } catch (error) {
        // What one of them refuses is not asked of the others: two that fail over at once undo each other's work.
        if (error instanceof ReplyError) throw error;
      }
    }
    throw new KitError(`no sentinel answers ${args.join(' ')}.`);
  };
  return {
    url: `redis+sentinel://${ports.map((port) => `127.0.0.1:${port}`).join(',')}/shop`,
    sentinels,
    masterPort: async () => Number(((await ask('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'shop')) as string[])[1]),
    failOver: async () => void (await ask('SENTINEL', 'FAILOVER', 'shop')),
    stop: async () => {
      for (const admin of admins) admin.disconnect();
      await Promise.all(sentinels.map((sentinel) => sentinel.stop()));
    },
  };
}

async function startSentinel(command: string, port: number, masterPort: number): Promise<ProcessHandle> {
  const scratch = scratchFolder('sentinel');
  const file = join(scratch.path, 'sentinel.conf');
  // It writes what it learns into its file, so it cannot be told by arguments.
  const lines = [
    ...[`port ${port}`, 'bind 127.0.0.1', 'protected-mode no', `dir ${scratch.path}`],
    `sentinel monitor shop 127.0.0.1 ${masterPort} 2`,
    'sentinel down-after-milliseconds shop 500',
    'sentinel failover-timeout shop 3000',
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  return startServer(
    {
      port: () => port,
      choosePorts: () => Promise.reject(new KitError(`port ${port} of a sentinel was taken.`)),
      launch: (log) => {
        const watch = watchLines((line) => (/\+monitor master shop/.test(line) ? true : undefined));
        const child = startChild({
          command,
          args: [file, '--sentinel'],
          env: { PATH: process.env['PATH'] },
          orphanSignal: 'SIGKILL',
          log,
          onLine: watch.take,
        });
        return { child, ready: watch.found.then(() => undefined) };
      },
      remove: () => scratch.remove(),
    },
    { name: 'sentinel', stopSignal: 'SIGTERM', graceMs: 2_000, startTimeoutMs: 60_000, supervise: false },
  );
}
