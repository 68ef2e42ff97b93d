// npm run history: breaks everything, in an order that a seed decides, and checks every value that a cache serves meanwhile.
import { createWriteStream } from 'node:fs';
import { onParentGone, toStderr } from '../test/kit/index.ts';
import { help, parseOptions } from '../test/history/options.ts';
import { reportLines } from '../test/history/report.ts';
import { runHistory } from '../test/history/run.ts';
import { runCommand } from './lib/command.ts';

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (options === 'help') {
    process.stdout.write(`${help}\n`);
    process.exit(0);
  }
  const asked = Promise.withResolvers<undefined>();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => asked.resolve(undefined));
  onParentGone(() => asked.resolve(undefined));
  const { json, log } = options;
  const file = log === undefined ? undefined : createWriteStream(log);
  toStderr('starting Postgres with a standby, Kafka, Redis with a replica, and Tidemark with three sidecars');
  const stream = json ? process.stderr : process.stdout;
  const report = await runHistory(
    {
      ...options,
      progress: toStderr,
      say: (text) => {
        stream.write(`${text}\n`);
        file?.write(`${new Date().toISOString()} ${text}\n`);
      },
      onLine: (name, line) => file?.write(`${name} ${line}\n`),
    },
    asked.promise,
  );
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : `${reportLines(report).join('\n')}\n`);
  process.exit(report.violations.length === 0 && report.operations.checked > 0 ? 0 : 1);
}

await runCommand(main);
