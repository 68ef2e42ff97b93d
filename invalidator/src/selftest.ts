import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { duration } from '@tidemark/runtime';
import { openSelftestTable } from './adapters/postgres-selftest.ts';
import { sidecarClient } from './adapters/sidecar-client.ts';
import { environmentHelp, selftestConfig } from './config.ts';
import { OperatorError } from './core/errors.ts';
import { runSelftest } from './selftest/steps.ts';

const HELP = `Usage: tidemark selftest [--namespace NAME] [--table SCHEMA.TABLE] [--deadline DURATION]

Asks a sidecar, as an application would, for a row that it writes itself: a miss, a fill, a hit; then it changes the row,
sees the value go, and says how long that took. The row is removed in the end; the table stays.

  --namespace NAME       namespace with rule keys ['{id}'] on the table (default: tidemark-selftest)
  --table SCHEMA.TABLE   made if it is missing: id text primary key, value text (default: public.tidemark_selftest)
  --deadline DURATION    for all of it, waiting until the namespace is served included (default: 90s)

It ends with 0 when everything was as it should be, 1 when it was not.
`;

/** `selftest`: resolves to the exit code. Rejects when a person has to mend something first. */
export async function selftest(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      namespace: { type: 'string', default: 'tidemark-selftest' },
      table: { type: 'string', default: 'public.tidemark_selftest' },
      deadline: { type: 'string', default: '90s' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${HELP}\nEnvironment:\n${environmentHelp('selftest')}\n`);
    return 0;
  }
  const { url, postgresUrl } = selftestConfig(process.env);
  const [schema = '', name = '', ...rest] = values.table.split('.');
  if (schema === '' || name === '' || rest.length > 0)
    throw new OperatorError(`--table: found "${values.table}", expected SCHEMA.TABLE`);
  const deadlineMs = deadlineOf(values.deadline);
  const table = await openSelftestTable({ url: postgresUrl, schema, table: name });
  try {
    await runSelftest({
      sidecar: sidecarClient(url, values.namespace),
      table,
      id: randomUUID(),
      deadlineMs,
      about: { url, namespace: values.namespace, table: values.table },
      say: (line) => void process.stdout.write(`${line}\n`),
    });
    return 0;
  } finally {
    await table.close().catch(() => undefined);
  }
}

function deadlineOf(found: string): number {
  try {
    return duration({ min: '1s', max: '1h' })(found);
  } catch (error) {
    throw new OperatorError(`--deadline: found "${found}", ${(error as Error).message}`);
  }
}
