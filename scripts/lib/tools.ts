import { spawn } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root folder of the checkout. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

const bin = join(root, 'node_modules', '.bin');

export interface ToolRun {
  /** The exit code; 128 and more for a signal. */
  readonly code: number;
  /** stdout and stderr, in the order they came. */
  readonly output: string;
}

/** Runs a program of node_modules/.bin to its end. It finds its siblings, and our Node, first in PATH. */
export function runTool(name: string, args: readonly string[], cwd = root): Promise<ToolRun> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` };
    const child = spawn(join(bin, name), args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const take = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? 128, output }));
  });
}
