import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_MS = 1000;

/**
 * Follows the text of a file until it is stopped: tells it at first and whenever it is another one, and once why it cannot be
 * read. It looks once a second: kubelet swaps a symbolic link two levels above the file, of which a watch of the file hears
 * nothing (kubernetes.io, "Mounted ConfigMaps are updated automatically").
 */
export async function followFile(options: {
  readonly path: string;
  readonly onText: (text: string) => void;
  /** Told once until it can be read again. */
  readonly onUnreadable: (error: Error) => void;
  readonly stop: AbortSignal;
}): Promise<void> {
  const { path, onText, onUnreadable, stop } = options;
  let known: string | undefined;
  let isUnreadable = false;
  while (!stop.aborted) {
    try {
      const text = await readFile(path, { encoding: 'utf8', signal: stop });
      isUnreadable = false;
      if (text !== known) onText(text);
      known = text;
    } catch (error) {
      if (!stop.aborted && !isUnreadable) onUnreadable(error as Error);
      isUnreadable = true;
    }
    await sleep(LOOK_MS, undefined, { signal: stop }).catch(() => undefined);
  }
}
