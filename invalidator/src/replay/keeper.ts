import { checkpointFile } from '../adapters/checkpoint-file.ts';
import type { ReplayConfig } from '../config.ts';
import { OperatorError } from '../core/errors.ts';
import { formatCheckpoint, parseCheckpoint, type Checkpoint, type ReplayIdentity } from '../core/replay/checkpoint.ts';
import type { ReplayState } from '../core/replay/engine.ts';
import { formatPosition } from '../core/replay/range.ts';
import type { LogMark } from '../core/replay/raiser.ts';
import type { ReplayOptions } from './options.ts';
import type { ChosenRules } from './rules.ts';

/** The place is kept this often, ms; what came after it is done again by a run that goes on after a kill. */
const KEEP_EVERY_MS = 1_000;

/** Keeps the place of a replay in the file of `--checkpoint`, if there is one. */
export interface Keeper {
  /** Where an earlier run had come to. */
  readonly found: Checkpoint | undefined;
  keep(state: ReplayState, logs: readonly (LogMark | null)[], isLast: boolean): Promise<void>;
  forget(): Promise<void>;
}

/** Throws {@link OperatorError} for a checkpoint of something else. */
export async function openKeeper(
  options: ReplayOptions,
  { config, chosen }: { readonly config: ReplayConfig; readonly chosen: ChosenRules },
): Promise<Keeper> {
  const path = options.checkpoint;
  if (path === undefined) return { found: undefined, keep: async () => undefined, forget: async () => undefined };
  const file = checkpointFile(path);
  const identity: ReplayIdentity = {
    records: options.file === undefined ? `topic ${config.topic}` : `capture ${options.file}`,
    into: options.into,
    rules: chosen.rules.namespaces.map(({ name, hashHex }) => `${name}=${hashHex}`),
  };
  const found = find(path, { text: await file.read(), identity });
  if (found !== undefined) tellResumed(path, found.state, options);
  let keptAt = performance.now();
  return {
    found,
    async keep(state, logs, isLast) {
      // Before the range has begun there is nothing to go on with.
      if (!state.isInside || (!isLast && performance.now() - keptAt < KEEP_EVERY_MS)) return;
      await file.write(formatCheckpoint({ identity, state, logs }));
      keptAt = performance.now();
    },
    forget: () => file.remove(),
  };
}

function find(
  path: string,
  { text, identity }: { readonly text: string | undefined; readonly identity: ReplayIdentity },
): Checkpoint | undefined {
  if (text === undefined) return undefined;
  try {
    return parseCheckpoint(text, identity);
  } catch (error) {
    throw new OperatorError(
      `--checkpoint ${path}: ${(error as Error).message}: delete it to begin anew, or name another one`,
    );
  }
}

function tellResumed(path: string, { position, nextOffset }: ReplayState, { from }: ReplayOptions): void {
  const place =
    position === undefined
      ? `offset ${nextOffset}`
      : `${formatPosition({ epoch: position.epoch, lsn: position.applied })} (offset ${nextOffset})`;
  process.stderr.write(
    `going on behind ${place}, as ${path} says${from === undefined ? '' : '; --from is not looked at'}\n`,
  );
}
