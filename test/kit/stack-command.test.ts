import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { signalIfThere } from './child.ts';
import { type Scratch, scratchFolder } from './index.ts';
import { withPostgres } from './names.ts';

// `npm run stack` as a person starts it: what it prints, what it brings back, and that nothing of it stays.

interface Printed {
  readonly postgres: string;
  readonly kafka: readonly string[];
  readonly redis: string;
  readonly invalidator: string;
  readonly sidecars: readonly {
    readonly url: string;
    readonly socket: string;
    readonly admin: string;
    readonly pid: number;
  }[];
  readonly pids: Readonly<Record<'postgres' | 'kafka' | 'redis' | 'invalidator' | 'applier', number>>;
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const config = `
sources:
  main: { topic: tidemark.main }
namespaces:
  users:
    source: main
    ttl: { hard: 30m }
    invalidate:
      - { table: public.users, keys: ["{id}"] }
  unserved:
    source: main
    invalidate:
      - { table: public.nowhere, keys: ["{id}"] }
`;

let folder: Scratch;
let command: ChildProcess | undefined;

beforeEach(() => {
  folder = scratchFolder('stack-command');
  writeFileSync(join(folder.path, 'tidemark.yaml'), config);
  writeFileSync(
    join(folder.path, 'init.sql'),
    'create table users (id int primary key); insert into users values (1);',
  );
});

afterEach(async () => {
  command?.kill('SIGTERM');
  await folder.remove();
});

function start(args: readonly string[]) {
  const child = spawn(process.execPath, ['scripts/bootstrap.mjs', 'stack', ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  command = child;
  const output: string[] = [];
  const said: string[] = [];
  createInterface(child.stdout).on('line', (line) => output.push(line));
  createInterface(child.stderr).on('line', (line) => said.push(line));
  const exited = new Promise<number | null>((resolve) => {
    child.once('close', resolve);
  });
  return { child, output, said, exited };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('prints its addresses, brings back what is killed, and ends everything on SIGTERM', async () => {
  const files = ['--config', join(folder.path, 'tidemark.yaml'), '--init', join(folder.path, 'init.sql')];
  const { child, output, said, exited } = start([...files, '--sidecars', '2', '--json']);
  await vi.waitFor(() => expect(output, said.join('\n')).toHaveLength(1), 180_000);
  const printed = JSON.parse(output[0]!) as Printed;
  expect(printed.sidecars).toHaveLength(2);
  const unserved = 'tidemark: invalidator: namespace unserved is not served: there is no table public.nowhere';
  await vi.waitFor(() => expect(said).toContain(unserved), 60_000);
  const ready = await Promise.all(printed.sidecars.map(({ admin }) => fetch(`${admin}/readyz`)));
  expect(ready.map(({ status }) => status)).toEqual([200, 200]);
  expect(printed.sidecars.map(({ socket }) => existsSync(socket))).toEqual([true, true]);

  const first = [...Object.values(printed.pids), ...printed.sidecars.map(({ pid }) => pid)];
  for (const pid of first) signalIfThere(pid, 'SIGKILL');
  const names = ['postgres', 'kafka', 'redis', 'invalidator', 'applier', 'sidecar-0', 'sidecar-1'];
  const back = () => names.map((name) => said.findLast((line) => line.includes(`${name} is ready again`)));
  await vi.waitFor(() => expect(back(), said.join('\n')).not.toContain(undefined), 240_000);
  const { rows } = await withPostgres(printed.postgres, (client) => client.query('select id from users'));
  expect(rows).toEqual([{ id: 1 }]);

  const second = back().map((line) => Number(/pid (\d+)/.exec(line!)?.[1]));
  expect(second.filter(isAlive)).toHaveLength(7);
  child.kill('SIGTERM');
  expect(await exited).toBe(0);
  expect([...first, ...second].filter(isAlive)).toEqual([]);
}, 600_000);

test.for([
  [[], '--config FILE is missing'],
  [['--config', '/no/such/file'], '--config /no/such/file cannot be read'],
  [['--sidecars', '1', '--confg', 'x'], "Unknown option '--confg'"],
] as const)('%j says: %s', async ([args, sentence]) => {
  const { said, output, exited } = start(args);
  expect(await exited).toBe(1);
  expect(said.join('\n')).toContain(sentence);
  expect(output).toEqual([]);
});
