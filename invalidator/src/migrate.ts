import { parseArgs } from 'node:util';
import { migrate } from './adapters/postgres-schema.ts';
import { openForCommand, serverFacts } from './adapters/postgres-session.ts';
import { environmentHelp, migrateConfig } from './config.ts';
import { OperatorError } from './core/errors.ts';
import { migrationScript } from './core/schema/migrations.ts';

const HELP = `Usage: tidemark migrate [--print]

Makes or renews schema tidemark in the database that is followed: functions with which SQL purges, such as
tidemark.purge_keys('user-profile', '42'), and the tables of tidemark flush. All of it or nothing is done; what is there
already stays; table tidemark.migrations says what that is. The role must be allowed to make a schema, or own schema tidemark.

  --print  writes the SQL instead, for a person who runs it; needs no database

It ends with 0 when the schema is up to date, 1 when it is not.
`;

const CONNECT_MS = 10_000;
const QUERY_MS = 60_000;
const LOCK_MS = 30_000;

/** `migrate`: resolves to the exit code. Rejects when a person has to mend something first. */
export async function migrateCommand(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      print: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) process.stdout.write(`${HELP}\nEnvironment:\n${environmentHelp('migrate')}\n`);
  else if (values.print) process.stdout.write(migrationScript());
  else await migrateDatabase(migrateConfig(process.env).postgresUrl);
  return 0;
}

async function migrateDatabase(postgresUrl: string): Promise<void> {
  const client = await openForCommand({
    connectionString: postgresUrl,
    application_name: 'tidemark migrate',
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: QUERY_MS,
  });
  try {
    const { version, inRecovery, database } = await serverFacts(client);
    if (version < 140_000)
      throw new OperatorError(`Postgres ${Math.floor(version / 10_000)} is too old, expected 14 or newer`);
    if (inRecovery) throw new OperatorError('the server is a standby, expected the primary');
    const done = await migrate(client, { waitMs: LOCK_MS });
    for (const { version: number, name } of done) say(`${number}: ${name}`);
    say(`Schema tidemark of database ${database} is up to date.`);
  } finally {
    await client.end().catch(() => undefined);
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
