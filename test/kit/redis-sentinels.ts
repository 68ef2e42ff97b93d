import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Redis, ReplyError } from 'ioredis';
import { startChild } from './child.ts';
import { KitError, silent } from './error.ts';
import type { ProcessHandle } from './handle.ts';
import { startServer } from './managed.ts';
import { freePort } from './ports.ts';
import { redisCommand } from './redis-install.ts';
import { scratchFolder } from './scratch.ts';
import { watchLines } from './watch.ts';

const KNOW_TIMEOUT_MS = 120_000;

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

/**
 * Starts three sentinels that watch a master with a replica under the name `shop`, and agree by two that it is gone, half a second after it
 * is. Settles once each of them knows the others and the replica: before that they would replace nobody.
 */
export async function startSentinels(masterPort: number): Promise<RedisSentinels> {
  const command = await redisCommand(silent);
  if (command === undefined) throw new KitError('sentinels need a redis-server on this machine; Docker does not do.');
  const started = await Promise.allSettled([1, 2, 3].map(() => startSentinel(command, masterPort)));
  const all = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const [ports, sentinels] = [all.map(({ port }) => port), all.map(({ sentinel }) => sentinel)];
  const admins = ports.map((port) => {
    const admin = new Redis({ port, host: '127.0.0.1', protocol: 2, maxRetriesPerRequest: 1 });
    admin.on('error', () => undefined); // commands fail by themselves
    return admin;
  });
  const stop = async (): Promise<void> => {
    for (const admin of admins) admin.disconnect();
    await Promise.all(sentinels.map((sentinel) => sentinel.stop()));
  };
  try {
    for (const each of started) if (each.status === 'rejected') throw each.reason;
    await Promise.all(admins.map(knowsAll));
  } catch (error) {
    await stop();
    throw error;
  }
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
    stop,
  };
}

/** Waits until a sentinel knows two others, of whom it hears through the master, and a replica. */
async function knowsAll(admin: Redis): Promise<void> {
  // One that was not run for 2 s trusts nothing for 30 s, and on a busy machine for ever. Redis 6.2 cannot be told.
  await admin.call('SENTINEL', 'DEBUG', 'TILT-PERIOD', '3000').catch(() => undefined);
  const deadline = Date.now() + KNOW_TIMEOUT_MS;
  for (;;) {
    const answer = await admin.call('SENTINEL', 'MASTER', 'shop').catch(() => []);
    const fields = (answer as unknown[]).map(String);
    const valueOf = (name: string): number => Number(fields[fields.indexOf(name) + 1]);
    if (valueOf('num-other-sentinels') === 2 && valueOf('num-slaves') > 0) return;
    if (Date.now() > deadline)
      throw new KitError(`within ${KNOW_TIMEOUT_MS / 1000} s a sentinel heard of no two others and a replica.`);
    await wait(100);
  }
}

async function startSentinel(
  command: string,
  masterPort: number,
): Promise<{ readonly sentinel: ProcessHandle; readonly port: number }> {
  const scratch = scratchFolder('sentinel');
  const file = join(scratch.path, 'sentinel.conf');
  let port = 0;
  const choosePorts = async (): Promise<void> => {
    port = await freePort();
    // It writes what it learns into its file, so it cannot be told by arguments.
    const lines = [
      ...[`port ${port}`, 'bind 127.0.0.1', 'protected-mode no', `dir ${scratch.path}`],
      `sentinel monitor shop 127.0.0.1 ${masterPort} 2`,
      'sentinel down-after-milliseconds shop 500',
      'sentinel failover-timeout shop 3000',
    ];
    await writeFile(file, `${lines.join('\n')}\n`);
  };
  await choosePorts();
  const sentinel = await startServer(
    {
      port: () => port,
      choosePorts,
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
  return { sentinel, port };
}
