import { chmodSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { dockerWorks, newContainer } from './docker.ts';
import { type ManagedProcess, startServer } from './managed.ts';
import { type Scratch, scratchFolder } from './scratch.ts';
import { watchLines } from './watch.ts';

// What the kit asks of docker, seen with a stand-in (fixtures/docker): the images themselves are not started here.

let folder: Scratch;
let server: ManagedProcess | undefined;

beforeEach(() => {
  folder = scratchFolder('docker-test');
  chmodSync(folder.path, 0o755);
  const fixtures = dirname(fileURLToPath(new URL('fixtures/docker', import.meta.url)));
  vi.stubEnv('FAKE_DOCKER', folder.path);
  vi.stubEnv('PATH', `${fixtures}:${process.env['PATH']}`);
});

afterEach(async () => {
  await server?.stop();
  await folder.remove();
});

function calls(): string[] {
  const lines = readFileSync(join(folder.path, 'calls'), 'utf8').trim().split('\n');
  return lines.map((line) => line.replaceAll(/tidemark-redis-\w+-6000/g, 'NAME'));
}

test('a container is run once, started again on its own data, signalled through docker and removed in the end', async () => {
  expect(dockerWorks()).toBe(true);
  const container = newContainer('redis');
  const program = {
    port: () => 6000,
    choosePorts: async () => undefined,
    remove: () => container.remove(),
    launch: (log: ManagedProcess['log']) => {
      const watch = watchLines((line) => (line === 'ready' ? true : undefined));
      const run = {
        image: 'redis:8',
        port: 6000,
        env: { A: 'b' },
        mounts: { '/data-here': '/data' },
        args: ['--x', 'y'],
      };
      const child = container.launch(run, { log, onLine: watch.take });
      return { child, ready: watch.found.then(() => undefined) };
    },
  };
  const spec = {
    name: 'redis',
    stopSignal: 'SIGTERM',
    graceMs: 60_000,
    startTimeoutMs: 60_000,
    supervise: false,
  } as const;
  server = await startServer(program, spec);
  await server.kill();
  await server.start();
  server.pause();
  server.resume();
  await server.stop();
  expect(calls()).toEqual([
    'info',
    'run --name NAME --publish=127.0.0.1:6000:6000 --env A=b --volume /data-here:/data redis:8 --x y',
    'kill --signal SIGKILL NAME',
    'start --attach NAME',
    'pause NAME',
    'unpause NAME',
    'kill --signal SIGTERM NAME',
    'unpause NAME',
    'rm --force --volumes NAME',
  ]);
});
