import { KitError, positive, readArguments } from '../kit/index.ts';
import { faultKinds } from './faults/index.ts';
import type { HistoryOptions } from './run.ts';

export const help = `Usage: npm run history -- [OPTIONS]

Starts Postgres with a standby, Kafka, Redis with a replica, the invalidator, the applier and three sidecars; reads and
writes through them while a nemesis breaks them; and compares every value that a cache served with what was committed.
All of it is started and ended by this command; servers that TIDEMARK_TEST_* name are not touched.

  --minutes N      for how long faults are caused (default: until every kind was caused once)
  --seed N         of the schedule: the same faults in the same order for the same times (default 1)
  --faults A,B     only these, by their names or beginnings ("kill" is every kill)
  --reads N        reads a second (default 300)
  --writes N       writes a second (default 20)
  --hurry          faults last less than half as long, and two come together where they can
  --wrong-rule     name the wrong table in a rule, to see that the checker finds what that does
  --log FILE       write there what the invalidator, the applier and the sidecars log
  --json           print the report as one line of JSON on stdout, and nothing else there
  --help           this text

Faults: ${faultKinds.map(({ name }) => name).join(', ')}.

Exit code 0: no violation. 1: a violation, which is printed with its history and the seed; or it could not start.`;

export interface Options extends Pick<
  HistoryOptions,
  'seed' | 'minutes' | 'kinds' | 'hurry' | 'wrongRule' | 'readsPerSecond' | 'writesPerSecond'
> {
  readonly json: boolean;
  readonly log: string | undefined;
}

/** Reads the command line. Throws a KitError with a sentence for the person who wrote it. */
export function parseOptions(args: readonly string[]): Options | 'help' {
  const values = readFlags(args);
  if (values.help) return 'help';
  return {
    minutes: values.minutes === undefined ? undefined : positive('--minutes', values.minutes, 1e5),
    seed: positive('--seed', values.seed, 2 ** 32),
    kinds: values.faults === undefined ? faultKinds : values.faults.split(',').flatMap(kindsNamed),
    readsPerSecond: positive('--reads', values.reads, 100_000),
    writesPerSecond: positive('--writes', values.writes, 10_000),
    hurry: values.hurry,
    wrongRule: values['wrong-rule'],
    json: values.json,
    log: values.log,
  };
}

function kindsNamed(word: string): typeof faultKinds {
  const found = faultKinds.filter(({ name }) => name === word || name.startsWith(`${word}-`));
  if (found.length > 0) return found;
  const names = faultKinds.map(({ name }) => name).join(', ');
  throw new KitError(`--faults names "${word}", but there are only: ${names}.`);
}

function readFlags(args: readonly string[]) {
  const flag = { type: 'boolean', default: false } as const;
  const number = (value: string) => ({ type: 'string', default: value }) as const;
  const options = {
    minutes: { type: 'string' },
    faults: { type: 'string' },
    log: { type: 'string' },
    seed: number('1'),
    reads: number('300'),
    writes: number('20'),
    hurry: flag,
    'wrong-rule': flag,
    json: flag,
    help: { ...flag, short: 'h' },
  } as const;
  return readArguments('history', { args: [...args], options, allowPositionals: false }).values;
}
