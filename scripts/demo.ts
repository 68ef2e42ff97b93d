// npm run demo: a shop behind two sidecars, live in this terminal, with a checker that compares what was served with Postgres.
import { onParentGone } from '../test/kit/index.ts';
import { help, parseOptions } from './demo/options.ts';
import { runDemo } from './demo/run.ts';
import { runCommand } from './lib/command.ts';

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2), process.stdout.isTTY);
  if (options === 'help') {
    process.stdout.write(`${help}\n`);
    process.exit(0);
  }
  const asked = Promise.withResolvers<undefined>();
  // A second signal changes nothing: each step of the end has its own time limit.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => asked.resolve(undefined));
  onParentGone(() => asked.resolve(undefined));
  const code = await runDemo(options, asked.promise);
  process.exit(code ?? 130); // 130: ended by Ctrl-C, as shells tell it
}

await runCommand(main);
