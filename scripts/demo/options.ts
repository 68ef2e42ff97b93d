import { positive, readArguments } from '../../test/kit/index.ts';

export const help = `Usage: npm run demo [-- OPTIONS]

A small shop behind two sidecars: readers go through the cache, writers go to Postgres and to nothing else, and a checker
compares every value that a cache served with what was committed. Starts all it needs and ends it again: Postgres, Kafka,
Redis, the invalidator, the L2 applier and two sidecars. Servers that TIDEMARK_TEST_POSTGRES_URL, _KAFKA_BROKERS and
_REDIS_URL name are used instead (in a database and a topic of its own, which are removed at the end).

  --seconds N    end by itself after N seconds (default: on q, Ctrl-C or SIGTERM)
  --plain        a line of figures every second instead of the live view; the default where stdout is no terminal
  --chaos        kill, pause and flush the parts in turn, without a key being pressed
  --seed N       of the order of --chaos and of the choice of products (default 1)
  --reads N      reads a second, at most (default 2000)
  --writes N     writes a second, at most (default 40)
  --wrong-rule   name the wrong table in one rule, to see that the checker finds what that does
  --help         this text

Exit code 0: no stale read. 1: a stale read, or it could not start.`;

export interface Options {
  /** When it ends by itself; undefined: when it is asked to. */
  readonly seconds: number | undefined;
  readonly plain: boolean;
  readonly chaos: boolean;
  readonly seed: number;
  readonly readsPerSecond: number;
  readonly writesPerSecond: number;
  readonly wrongRule: boolean;
}

/** Reads the command line. Throws a KitError with a sentence for the person who wrote it. */
export function parseOptions(args: readonly string[], isTerminal: boolean): Options | 'help' {
  const values = readFlags(args);
  if (values.help) return 'help';
  return {
    seconds: values.seconds === undefined ? undefined : positive('--seconds', values.seconds, 1e6),
    plain: values.plain || !isTerminal,
    chaos: values.chaos,
    seed: positive('--seed', values.seed, 2 ** 32),
    readsPerSecond: positive('--reads', values.reads, 100_000),
    writesPerSecond: positive('--writes', values.writes, 10_000),
    wrongRule: values['wrong-rule'],
  };
}

function readFlags(args: readonly string[]) {
  const flag = { type: 'boolean', default: false } as const;
  const number = (value: string) => ({ type: 'string', default: value }) as const;
  const options = {
    seconds: { type: 'string' },
    plain: flag,
    chaos: flag,
    seed: number('1'),
    reads: number('2000'),
    writes: number('40'),
    'wrong-rule': flag,
    help: { ...flag, short: 'h' },
  } as const;
  return readArguments('demo', { args: [...args], options, allowPositionals: false }).values;
}
