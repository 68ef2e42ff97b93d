import { parseArgs } from 'node:util';
import { environmentHelp } from './config.ts';

const USAGE = `Tidemark's invalidator.

  node main.ts run   [--config FILE]   follows Postgres and writes its row changes to Kafka
  node main.ts apply [--config FILE]   keeps the fence logs in Redis up to date from Kafka
  node main.ts COMMAND --help          lists the environment of a command

  --config FILE   YAML file with sources and namespaces (same as TIDEMARK_CONFIG)
`;

const commands = {
  run: async (configFile: string | undefined) => (await import('./run.ts')).run(configFile),
  apply: async (configFile: string | undefined) => (await import('./apply.ts')).apply(configFile),
};

function isCommand(word: string | undefined): word is keyof typeof commands {
  return word === 'run' || word === 'apply';
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { config: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
  const [command, ...rest] = positionals;
  if (values.help === true) {
    process.stdout.write(
      isCommand(command) ? `${USAGE}\nEnvironment of ${command}:\n${environmentHelp(command)}\n` : USAGE,
    );
  } else if (!isCommand(command) || rest.length > 0) {
    process.stderr.write(
      `found ${positionals.length === 0 ? 'no command' : `"${positionals.join(' ')}"`}, expected run or apply\n\n${USAGE}`,
    );
    process.exitCode = 2;
  } else {
    await commands[command](values.config);
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
