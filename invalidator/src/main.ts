#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { environmentHelp } from './config.ts';

const USAGE = `Tidemark beside Postgres, Kafka and Redis.

  tidemark run   [--config FILE]   follows Postgres and writes its row changes to Kafka
  tidemark apply [--config FILE]   keeps the fence logs in Redis up to date from Kafka
  tidemark flush [--config FILE]   brings the writes of namespaces with writeBehind from Kafka into Postgres
  tidemark inject                  gives annotated pods the sidecar, as an admission webhook of Kubernetes
  tidemark replay ...              rebuilds invalidations from Kafka, or tries rules on a capture
  tidemark capture ...             writes the records in Kafka to a file
  tidemark drop-slot ...           drops the slot of a source that is not followed any more
  tidemark migrate ...             makes or renews the SQL functions that purge, in the database
  tidemark selftest ...            writes a row and sees its eviction in a sidecar
  tidemark COMMAND --help          tells about a command and lists its environment

  --config FILE   YAML file with sources and namespaces (same as TIDEMARK_CONFIG)
`;

const services = {
  run: async (configFile: string | undefined) => (await import('./run.ts')).run(configFile),
  apply: async (configFile: string | undefined) => (await import('./apply.ts')).apply(configFile),
  flush: async (configFile: string | undefined) => (await import('./flush.ts')).flush(configFile),
  inject: async () => (await import('./inject.ts')).inject(),
};

/** Commands that end by themselves, with options of their own; each answers its exit code. */
const tools = {
  replay: async (args: readonly string[]) => (await import('./replay.ts')).replay(args),
  capture: async (args: readonly string[]) => (await import('./capture.ts')).capture(args),
  'drop-slot': async (args: readonly string[]) => (await import('./drop-slot.ts')).dropSlotCommand(args),
  migrate: async (args: readonly string[]) => (await import('./migrate.ts')).migrateCommand(args),
  selftest: async (args: readonly string[]) => (await import('./selftest.ts')).selftest(args),
};

function isOneOf<T extends object>(commands: T, word: string | undefined): word is keyof T & string {
  return word !== undefined && Object.hasOwn(commands, word);
}

async function main(): Promise<void> {
  const [first, ...others] = process.argv.slice(2);
  if (isOneOf(tools, first)) {
    process.exitCode = await tools[first](others);
    return;
  }
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { config: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
  const [command, ...rest] = positionals;
  if (values.help === true) {
    process.stdout.write(
      isOneOf(services, command) ? `${USAGE}\nEnvironment of ${command}:\n${environmentHelp(command)}\n` : USAGE,
    );
  } else if (!isOneOf(services, command) || rest.length > 0) {
    const expected = [...Object.keys(services), ...Object.keys(tools)].join(', ');
    process.stderr.write(
      `found ${positionals.length === 0 ? 'no command' : `"${positionals.join(' ')}"`}, expected one of ${expected}\n\n${USAGE}`,
    );
    process.exitCode = 2;
  } else {
    await services[command](values.config);
  }
}

try {
  await main();
} catch (error) {
  // What a person has to mend says so in its message; anything else is ours and shows where it happened.
  const { name, message, stack, code = '' } = error as Error & { code?: string };
  const isTold =
    ['EnvError', 'ConfigFileError', 'SettingError', 'OperatorError'].includes(name) ||
    code.startsWith('ERR_PARSE_ARGS');
  process.stderr.write(`${isTold ? message : (stack ?? String(error))}\n`);
  process.exitCode = 1;
}
