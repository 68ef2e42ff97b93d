import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

// One small shell process for each process that uses the kit. It holds the other end of a pipe, so it notices when we
// are gone, however we went, and leaves nothing of ours behind. It runs in a session of its own: a Ctrl-C in the
// terminal must not end it before it has done its work.
let guard: ChildProcess | undefined;

function tell(line: string): void {
  if (guard === undefined || guard.exitCode !== null || guard.signalCode !== null) {
    guard = spawn('/bin/sh', [fileURLToPath(new URL('guard.sh', import.meta.url))], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    guard.unref();
    (guard.stdin as unknown as { unref(): void }).unref();
    guard.stdin?.on('error', () => undefined);
  }
  guard.stdin?.write(`${line}\n`);
}

/**
 * Has a process group ended when this process ends.
 * @param signal the first signal it gets; after 3 s it gets SIGKILL
 */
export function guardProcess(pid: number, signal: NodeJS.Signals): () => void {
  tell(`pid+ ${pid} ${signal}`);
  return () => tell(`pid- ${pid}`);
}

/** Has a folder removed when this process ends. */
export function guardFolder(folder: string): () => void {
  tell(`dir+ ${folder}`);
  return () => tell(`dir- ${folder}`);
}

/** Has a Docker container removed when this process ends. */
export function guardContainer(name: string): () => void {
  tell(`box+ ${name}`);
  return () => tell(`box- ${name}`);
}

/** Calls back when the process that started this one is gone (scripts/bootstrap.mjs and vitest keep a channel open). */
export function onParentGone(callback: () => void): void {
  if (process.channel === undefined) return;
  process.once('disconnect', callback);
  // Listening keeps the channel, and so the event loop, alive; it must not.
  process.channel?.unref();
}
