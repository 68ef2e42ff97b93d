import type { Replay } from '../core/replay/engine.ts';
import type { RecordStream, ReplayTarget } from '../core/replay/ports.ts';

/** What is told waits in memory up to about so many bytes. */
const MAX_PENDING = 512 * 1024;

/** Replays a stream into a target. Resolves to whether it came to the end of the range; false when it was interrupted. */
export async function replayStream(options: {
  /** All of the same range, so that they end together. */
  readonly replays: readonly Replay[];
  readonly stream: RecordStream;
  readonly target: ReplayTarget;
  readonly signal: AbortSignal;
  /** Called when everything up to the replays' state is where it belongs; not after each record. The last time it will not be called again. */
  readonly onFlushed: (isLast: boolean) => Promise<void>;
}): Promise<boolean> {
  const { replays, stream, target, signal, onFlushed } = options;
  let hasEnded = false;
  await stream.read(async (records) => {
    for (const record of records) {
      if (signal.aborted) return false;
      for (const replay of replays) hasEnded = !replay.take(record);
      if (hasEnded) return false;
      if (target.pending < MAX_PENDING) continue;
      await target.flush();
      await onFlushed(false);
    }
    return true;
  }, signal);
  await target.flush();
  await onFlushed(true);
  return hasEnded || !signal.aborted;
}
