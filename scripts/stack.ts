// npm run stack: everything in the foreground, for a person's own experiments.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import {
  KitError,
  type ProcessEvent,
  type Stack,
  describeExit,
  onParentGone,
  readArguments,
  startStack,
  toStderr,
} from '../test/kit/index.ts';
import { runCommand } from './lib/command.ts';

const help = `Usage: npm run stack -- --config FILE [OPTIONS]

Starts Postgres, Kafka, Redis, the invalidator, the L2 applier, a flusher if there is writeBehind, and sidecars; prints their
addresses once all of them are ready, and what they log as errors; and ends all of it on Ctrl-C (SIGINT) or SIGTERM. What
dies meanwhile is started again on its own data and address.

  --config FILE      sources and namespaces (YAML)
  --sidecars N       how many sidecars (1 to 64; default 1)
  --init FILE.sql    SQL to run in Postgres first: tables, rows
  --json             print one line of JSON instead of a table
  --logs             print all log lines of the invalidator, the applier, the flusher and the sidecars on stderr
  --postgres URL     use this Postgres (a superuser's or replication user's URL) instead of starting one
  --kafka BROKERS    use this Kafka (host:port,host:port) instead of starting one
  --redis URL        use this Redis instead of starting one
  --help             this text`;

/** Beyond it --logs shows more. */
const MAX_ERRORS = 100;
const maxSidecars = 64;

interface Options {
  readonly config: string;
  readonly configFile: string;
  readonly sidecars: number;
  readonly initSql: string | undefined;
  readonly json: boolean;
  readonly logs: boolean;
  readonly use: { readonly postgres?: string; readonly kafka?: readonly string[]; readonly redis?: string };
}

function parse(args: string[]): Options | 'help' {
  const values = readFlags(args);
  if (values.help) return 'help';
  if (values.config === undefined)
    throw new KitError('--config FILE is missing: the sources and namespaces (npm run stack -- --help tells more).');
  const sidecars = Number(values.sidecars ?? 1);
  if (!Number.isInteger(sidecars) || sidecars < 1 || sidecars > maxSidecars) {
    throw new KitError(`--sidecars is "${values.sidecars}", but must be a whole number from 1 to ${maxSidecars}.`);
  }
  return {
    config: readText('--config', values.config),
    configFile: resolve(values.config),
    sidecars,
    initSql: values.init === undefined ? undefined : readText('--init', values.init),
    json: values.json,
    logs: values.logs,
    use: {
      ...(values.postgres !== undefined && { postgres: values.postgres }),
      ...(values.kafka !== undefined && { kafka: values.kafka.split(',') }),
      ...(values.redis !== undefined && { redis: values.redis }),
    },
  };
}

function readFlags(args: string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const options = {
    config: text,
    sidecars: text,
    init: text,
    json: flag,
    logs: flag,
    postgres: text,
    kafka: text,
    redis: text,
    help: { ...flag, short: 'h' },
  } as const;
  return readArguments('stack', { args, options, allowPositionals: false }).values;
}

function readText(flag: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new KitError(`${flag} ${file} cannot be read: ${(error as Error).message}.`);
  }
}

/** The one line of --json. Process ids are those of the first start; null for a server that was named instead of started. */
function asJson(stack: Stack): string {
  const { postgres, kafka, redis } = stack.servers;
  return JSON.stringify({
    postgres: stack.postgres,
    kafka: stack.brokers,
    redis: stack.redis,
    invalidator: stack.invalidator.url,
    sidecars: stack.sidecars.map(({ url, socket, admin, pid }) => ({ url, socket, admin, pid })),
    pids: {
      postgres: postgres.pid ?? null,
      kafka: kafka.pid ?? null,
      redis: redis.pid ?? null,
      invalidator: stack.invalidator.pid,
      applier: stack.applier.pid,
    },
  });
}

/** It runs only where some namespace has writes that wait. */
function flusherRow({ flusher }: Stack): [string, string, number | undefined][] {
  return flusher.pid === undefined ? [] : [['flusher', flusher.url, flusher.pid]];
}

function asTable(stack: Stack): string {
  const { postgres, kafka, redis } = stack.servers;
  const rows: [string, string, number | undefined][] = [
    ['postgres', stack.postgres, postgres.pid],
    ['kafka', stack.brokers.join(','), kafka.pid],
    ['redis', stack.redis, redis.pid],
    ['invalidator', stack.invalidator.url, stack.invalidator.pid],
    ['applier', stack.applier.url, stack.applier.pid],
    ...flusherRow(stack),
    ...stack.sidecars.flatMap(({ name, url, socket, admin, pid }): [string, string, number | undefined][] => [
      [name, url, pid],
      ['  socket', socket, undefined],
      ['  admin', admin, undefined],
    ]),
  ];
  const lines = rows.map(
    ([name, address, pid]) => `  ${name.padEnd(12)} ${address}${pid === undefined ? '' : `  (pid ${pid})`}`,
  );
  return ['Everything is ready; Ctrl-C ends it.', '', ...lines].join('\n');
}

function tell(event: ProcessEvent): void {
  if (event.kind === 'exit' && event.willRestart)
    toStderr(`${event.name} (pid ${event.pid}) ended with ${describeExit(event.exit)}; it is started again`);
  if (event.kind === 'ready' && event.starts > 1) toStderr(`${event.name} is ready again (pid ${event.pid})`);
}

/** Says what a person has to mend, once: a namespace that cannot be served looks like one that always misses. */
function errorTeller(): (name: string, line: string) => void {
  const told = new Set<string>();
  return (name, line) => {
    if (!line.startsWith('{"level":"error"') || told.size >= MAX_ERRORS) return;
    const { msg } = JSON.parse(line) as { msg: string };
    const text = `${name}: ${msg}`;
    if (!told.has(text)) toStderr(text);
    told.add(text);
  };
}

async function main(): Promise<void> {
  const options = parse(process.argv.slice(2));
  if (options === 'help') {
    process.stdout.write(`${help}\n`);
    process.exit(0);
  }
  const asked = Promise.withResolvers<void>();
  // A second signal changes nothing: each step of the end has its own time limit.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => asked.resolve());
  onParentGone(() => asked.resolve());

  toStderr('starting Postgres, Kafka, Redis and Tidemark');
  const starting = startStack({
    config: options.config,
    configFile: options.configFile,
    sidecars: options.sidecars,
    isolated: false,
    onEvent: tell,
    servers: { progress: toStderr, use: options.use },
    ...(options.initSql !== undefined && { initSql: options.initSql }),
    onLine: options.logs ? (name, line) => process.stderr.write(`${name} ${line}\n`) : errorTeller(),
  });
  const first = await Promise.race([starting, asked.promise]);
  if (first === undefined) process.exit(130); // asked to end before anything was ready: the guard ends what has started
  process.stdout.write(`${options.json ? asJson(first) : asTable(first)}\n`);
  await asked.promise;
  toStderr('ending everything');
  await first.stop();
  process.exit(0);
}

await runCommand(main);
