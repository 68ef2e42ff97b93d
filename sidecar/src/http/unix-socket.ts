import { chmodSync, lstatSync, rmSync } from 'node:fs';
import { connect } from 'node:net';

/**
 * Makes room for a listener on a Unix socket: removes the file that a process which was killed has left. Rejects when
 * somebody listens there, or when it is no socket.
 */
export async function clearSocketPath(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`${path} is there and is no socket`);
  if (await isAnswered(path)) throw new Error(`another process listens on ${path}`);
  rmSync(path, { force: true });
}

/** Runs what binds a socket so that nobody but owner and group could connect, not even for a moment; then sets the mode. */
export async function withSocketMode<T>(path: string, mode: number, bind: () => Promise<T>): Promise<T> {
  const before = process.umask(0o777 & ~mode);
  let bound: Promise<T>;
  try {
    bound = bind();
  } finally {
    process.umask(before);
  }
  const result = await bound;
  chmodSync(path, mode);
  return result;
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
