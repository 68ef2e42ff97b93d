import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { programOf } from '../../kit/programs.ts';

export interface BareSidecar {
  readonly child: ChildProcess;
  /** Fields of the `listening` line. */
  readonly bound: { readonly url: string; readonly admin: string; readonly socket?: string };
  /** Resolves with the exit code. */
  readonly exited: Promise<number | null>;
}

/** Settings with which a sidecar finds neither Kafka nor Redis. */
export const NOBODY = {
  TIDEMARK_KAFKA_BROKERS: '127.0.0.1:1',
  TIDEMARK_REDIS_URL: 'redis://127.0.0.1:1',
  TIDEMARK_LISTEN: '127.0.0.1:0',
  TIDEMARK_ADMIN_LISTEN: '127.0.0.1:0',
};

/** Starts a sidecar with nothing around it; settles once it listens, or rejects with what it said when it ends before. */
export async function startBareSidecar(
  env: Readonly<Record<string, string>>,
  args: readonly string[] = [],
): Promise<BareSidecar> {
  const program = await programOf('sidecar');
  const child = spawn(process.execPath, [...program.args, ...args], {
    env: { PATH: process.env['PATH'], ...program.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  const exited = once(child, 'exit').then(([code]) => code as number | null);
  const bound = await new Promise<BareSidecar['bound']>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      if (line.includes('"msg":"listening"')) resolve(JSON.parse(line) as BareSidecar['bound']);
    });
    createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
    child.once('close', (code) => reject(new Error(`exit code ${code}: ${lines.join('\n')}`)));
  });
  return { child, bound, exited };
}
