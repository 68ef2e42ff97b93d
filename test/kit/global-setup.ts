import type { TestProject } from 'vitest/node';
import { toStderr } from './error.ts';
import { onParentGone } from './guard.ts';
import { memcachedCommand } from './memcached-install.ts';
import { programOf } from './programs.ts';
import { redisCommand } from './redis-install.ts';
import { type ServerAddresses, type Servers, addressesOf, startServers } from './servers.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The servers of this run; see `sharedServers`. */
    readonly servers: ServerAddresses;
  }
}

interface Shared {
  readonly servers: Promise<Servers>;
  users: number;
}

// Each project of vitest loads this file for itself, in one process: what they share is kept beside it.
const kept = Symbol.for('tidemark.test.servers');
const run = globalThis as { [kept]?: Shared };

/** Starts the servers of a test run once for all of its projects; what it answers ends them with the last. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const shared = (run[kept] ??= { servers: start(), users: 0 });
  shared.users += 1;
  const servers = await shared.servers;
  project.provide('servers', addressesOf(servers));
  return async () => {
    shared.users -= 1;
    if (shared.users === 0) await servers.stop();
  };
}

function start(): Promise<Servers> {
  onParentGone(() => process.exit(143));
  // Bundled while the servers start; a failure is told by the first that needs the program.
  void Promise.allSettled([programOf('sidecar'), programOf('invalidator')]);
  // Fetched once for the machine, before a test's time runs; what cannot be had is told by the test that needs it.
  const others = [memcachedCommand(toStderr), redisCommand(toStderr, 'valkey'), redisCommand(toStderr, 'redis-6.2')];
  // Nobody ends the broker that all share, so it need not come back soon. With the kit's second it has no leader for any topic for a
  // moment whenever the machine has not let it run for as long.
  const kafka = { settings: { 'broker.session.timeout.ms': '60000' } };
  // Nothing that the tests keep must survive the machine: no waiting for the disk.
  const servers = startServers({ progress: toStderr, supervise: true, postgres: { fsync: false }, kafka });
  return Promise.all([servers, Promise.allSettled(others)]).then(([started]) => started);
}
