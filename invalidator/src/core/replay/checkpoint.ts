import type { ReplayState } from './engine.ts';
import type { LogMark } from './raiser.ts';

/** What a replay is, as far as another run must be the same to go on with it. */
export interface ReplayIdentity {
  /** Topic, or capture. */
  readonly records: string;
  readonly into: string;
  /** Namespaces with the hashes of their rules, in order. */
  readonly rules: readonly string[];
}

export interface Checkpoint {
  readonly identity: ReplayIdentity;
  readonly state: ReplayState;
  /** Where the logs in Redis stood, by bucket; empty for other targets. */
  readonly logs: readonly (LogMark | null)[];
}

const FORMAT = 'tidemark-replay-1';

export function formatCheckpoint(checkpoint: Checkpoint): string {
  return `${JSON.stringify({ format: FORMAT, ...checkpoint }, undefined, 2)}\n`;
}

/** Throws a RangeError that says what is wrong when the text is no checkpoint, or one of another replay. */
export function parseCheckpoint(text: string, wanted: ReplayIdentity): Checkpoint {
  let found: Partial<Checkpoint & { format: string }>;
  try {
    found = JSON.parse(text) as typeof found;
  } catch {
    throw new RangeError('found something else than a checkpoint');
  }
  const { format, identity, state, logs } = found;
  if (format !== FORMAT || identity === undefined || !isState(state) || !Array.isArray(logs))
    throw new RangeError(`found something else than a checkpoint of this version (${FORMAT})`);
  for (const part of ['records', 'into', 'rules'] as const) {
    const [is, was] = [String(wanted[part]), String(identity[part])];
    if (is !== was) throw new RangeError(`found a checkpoint of another replay (${part}: ${was}), expected ${is}`);
  }
  return { identity, state, logs };
}

function isState(state: ReplayState | undefined): state is ReplayState {
  return (
    state !== undefined &&
    Number.isSafeInteger(state.nextOffset) &&
    (state.position === undefined ||
      (Number.isSafeInteger(state.position.epoch) && Number.isSafeInteger(state.position.applied))) &&
    typeof state.counts === 'object'
  );
}
