import { afterEach, expect, test } from 'vitest';
import { startChild } from './child.ts';
import type { ProcessEvent } from './handle.ts';
import { ManagedProcess } from './managed.ts';
import { watchLines } from './watch.ts';

const running: ManagedProcess[] = [];

afterEach(() => Promise.all(running.splice(0).map((handle) => handle.stop())));

/** A shell program under management: ready when it prints "ready". */
function managed(
  program: string,
  options: { supervise?: boolean; startAttempts?: number; graceMs?: number; startTimeoutMs?: number } = {},
) {
  const events: ProcessEvent[] = [];
  const handle = new ManagedProcess({
    name: 'program',
    stopSignal: 'SIGTERM',
    graceMs: 60_000,
    startTimeoutMs: 60_000,
    supervise: false,
    startAttempts: 1,
    ...options,
    onEvent: (event) => events.push(event),
    launch: (log) => {
      const watch = watchLines((line) => (line === 'ready' ? true : undefined));
      const child = startChild({
        command: '/bin/sh',
        args: ['-c', program],
        orphanSignal: 'SIGKILL',
        log,
        onLine: watch.take,
      });
      return { child, ready: watch.found.then(() => undefined) };
    },
  });
  running.push(handle);
  return { handle, events };
}

test('a supervised process that dies comes back by itself under another id', async () => {
  const { handle, events } = managed('echo ready; exec sleep 60', { supervise: true });
  await handle.start();
  const first = handle.pid;
  expect(await handle.kill()).toEqual({ code: null, signal: 'SIGKILL' });
  await handle.ready();
  expect(handle.starts).toBe(2);
  expect(handle.pid).not.toBe(first);
  expect(events.map((event) => event.kind)).toEqual(['ready', 'exit', 'ready']);
});

test('a process that is held stays dead until it is released', async () => {
  const { handle, events } = managed('echo ready; exec sleep 60', { supervise: true });
  await handle.start();
  handle.hold();
  await handle.kill();
  expect(handle.pid).toBeUndefined();
  expect(events.at(-1)).toMatchObject({ kind: 'exit', willRestart: false });
  await handle.release();
  expect(handle.pid).toBeGreaterThan(0);
  expect(handle.starts).toBe(2);
});

test('a paused process can be stopped', async () => {
  const { handle } = managed('echo ready; exec sleep 60');
  await handle.start();
  handle.pause();
  await handle.stop();
  expect(handle.exits).toEqual([{ code: null, signal: 'SIGTERM' }]);
});

test('a process that ignores its stop signal is killed after the grace time', async () => {
  const { handle } = managed("trap '' TERM; echo ready; while :; do sleep 0.05; done", { graceMs: 100 });
  await handle.start();
  await handle.stop();
  expect(handle.exits).toEqual([{ code: null, signal: 'SIGKILL' }]);
});

test('a start that fails says why, with the last lines of the program', async () => {
  const { handle } = managed('echo the disk is full >&2; exit 3');
  await expect(handle.start()).rejects.toThrow(/ended before it was ready \(exit code 3\)[\s\S]*the disk is full/);
});

test('a start that takes too long is ended and says so', async () => {
  const { handle } = managed('exec sleep 60', { startTimeoutMs: 100 });
  await expect(handle.start()).rejects.toThrow('was not ready within 0.1 s');
  expect(handle.pid).toBeUndefined();
});
