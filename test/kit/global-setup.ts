import type { TestProject } from 'vitest/node';
import { toStderr } from './error.ts';
import { onParentGone } from './guard.ts';
import { programOf } from './programs.ts';
import { type ServerAddresses, addressesOf, startServers } from './servers.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The servers of this run; see `sharedServers`. */
    readonly servers: ServerAddresses;
  }
}

/** Starts the servers of a test run once; what it answers ends them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  onParentGone(() => process.exit(143));
  // Nothing that the tests keep must survive the machine: no waiting for the disk.
  // Bundled while the servers start; a failure is told by the first that needs the program.
  void Promise.allSettled([programOf('sidecar'), programOf('invalidator')]);
  const servers = await startServers({ progress: toStderr, supervise: true, postgres: { fsync: false } });
  project.provide('servers', addressesOf(servers));
  return () => servers.stop();
}
