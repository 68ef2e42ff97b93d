import { parseArgs } from 'node:util';
import { OperatorError } from '../core/errors.ts';
import { parseBound, type Bound } from '../core/replay/bound.ts';

export const REPLAY_HELP = `Usage: tidemark replay [--from PLACE] [--to PLACE] [--namespace NAME]... [--into TARGET] [--dry-run]
       tidemark replay --file CAPTURE [--config FILE] [--compare FILE]

Rebuilds invalidations from the stream in Kafka, or tries rules on a capture of it (tidemark capture) with no Kafka and no
Postgres. A PLACE is earliest, latest, a commit position (16/B374D848, or 3:16/B374D848 in epoch 3; without an epoch the
newest is meant), a time with its zone (2026-01-31T12:00:00Z), or how long ago (2h). Both places belong to what is replayed.

  --from PLACE       where to begin (default: earliest; with --file: what was captured)
  --to PLACE         where to end (default: latest, as it is at the start)
  --namespace NAME   only this one; may be said several times
  --into TARGET      stdout    one line of JSON for each invalidation (default)
                     redis     raises the fences in Redis again and deletes the entries that they forbid
                     sidecars  purges what was invalidated everywhere, through the WAL: every sidecar, and Redis
  --dry-run          only counts what would be done
  --rate NAMES       with --into sidecars: most names purged in a second (default 2000)
  --checkpoint FILE  keeps the place there; a later run with the same file goes on from it (delete it to begin anew)
  --file CAPTURE     replays a capture ("-": standard input) and prints a table of what the rules would have invalidated
  --compare FILE     the difference to the rules in this file, with --file or --dry-run
  --json             the table as JSON
  --ndjson           with --file: each invalidation as a line of JSON instead of the table
  --config FILE      YAML file with sources and namespaces (same as TIDEMARK_CONFIG)
  --quiet            no progress on standard error

Examples:
  tidemark replay --from 2h --namespace product | jq -r .name
  tidemark replay --from 16/B374D848 --to 16/B4000000 --dry-run
  tidemark replay --from 1d --into redis --checkpoint replay.json
  tidemark capture --out week.bin --from 7d && tidemark replay --file week.bin --config new-rules.yaml --compare tidemark.yaml

It ends with 0 when everything was done, 1 when it failed, 130 when it was interrupted.
`;

const TARGETS = ['stdout', 'redis', 'sidecars'] as const;
export type Target = (typeof TARGETS)[number];

export interface ReplayOptions {
  /** Undefined: from the earliest record, or what the capture was made for. */
  readonly from: Bound | undefined;
  readonly to: Bound | undefined;
  readonly namespaces: readonly string[];
  readonly into: Target;
  readonly isDryRun: boolean;
  /** Names a second. */
  readonly rate: number;
  readonly checkpoint: string | undefined;
  readonly file: string | undefined;
  readonly compare: string | undefined;
  readonly form: 'ndjson' | 'table' | 'json';
  readonly config: string | undefined;
  readonly isQuiet: boolean;
}

const DEFAULT_RATE = 2000;
const MAX_RATE = 1_000_000;

/** Undefined when help was asked for. Throws {@link OperatorError} for what does not fit together. */
export function replayOptions(args: readonly string[], nowMs: number): ReplayOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      from: { type: 'string' },
      to: { type: 'string' },
      namespace: { type: 'string', multiple: true },
      into: { type: 'string' },
      'dry-run': { type: 'boolean' },
      rate: { type: 'string' },
      checkpoint: { type: 'string' },
      file: { type: 'string' },
      compare: { type: 'string' },
      json: { type: 'boolean' },
      ndjson: { type: 'boolean' },
      config: { type: 'string' },
      quiet: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) return undefined;
  const isDryRun = values['dry-run'] === true;
  const isTable = isDryRun || (values.file !== undefined && values.ndjson !== true);
  const into = targetOf(values.into);
  const refuse = (found: string, expected: string): never => {
    throw new OperatorError(`found ${found}, expected ${expected}`);
  };
  if (values.file !== undefined && into !== 'stdout')
    refuse(`--file with --into ${into}`, 'one of them: only the stream itself is replayed into caches');
  if (values.compare !== undefined && !isTable)
    refuse('--compare', 'it with --dry-run, or with --file and no --ndjson');
  if (values.json === true && !isTable) refuse('--json', 'it with --dry-run, or with --file and no --ndjson');
  if (values.ndjson === true && isDryRun) refuse('--ndjson with --dry-run', 'one of them');
  if (values.rate !== undefined && into !== 'sidecars') refuse('--rate', 'it with --into sidecars');
  if (values.checkpoint !== undefined && isTable)
    refuse('--checkpoint with a table', 'it with lines, Redis or sidecars: a table counts one run');
  return {
    from: boundOf('--from', values.from, nowMs),
    to: boundOf('--to', values.to, nowMs),
    namespaces: values.namespace ?? [],
    into,
    isDryRun,
    rate: rateOf(values.rate),
    checkpoint: values.checkpoint,
    file: values.file,
    compare: values.compare,
    form: isTable ? (values.json === true ? 'json' : 'table') : 'ndjson',
    config: values.config,
    isQuiet: values.quiet === true,
  };
}

/** Throws {@link OperatorError}. */
export function boundOf(option: string, text: string | undefined, nowMs: number): Bound | undefined {
  if (text === undefined) return undefined;
  try {
    return parseBound(text, nowMs);
  } catch (error) {
    throw new OperatorError(`${option}: ${(error as Error).message}`);
  }
}

function targetOf(text = 'stdout'): Target {
  const target = TARGETS.find((one) => one === text);
  if (target === undefined) throw new OperatorError(`--into: found "${text}", expected one of ${TARGETS.join(', ')}`);
  return target;
}

function rateOf(text: string | undefined): number {
  const rate = text === undefined ? DEFAULT_RATE : Number(text);
  if (!Number.isInteger(rate) || rate < 1 || rate > MAX_RATE)
    throw new OperatorError(`--rate: found "${text}", expected a whole number from 1 to ${MAX_RATE}`);
  return rate;
}
