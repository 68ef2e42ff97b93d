import { spawn } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Scratch, scratchFolder } from '../../kit/index.ts';

/** A folder to put first in PATH; it holds `tidemark`, and a `psql` for machines without one. */
export function programsFolder(): Scratch {
  const bin = scratchFolder('bin');
  const main = join(import.meta.dirname, '../../../invalidator/src/main.ts');
  program(bin, 'psql', `exec '${process.execPath}' '${join(import.meta.dirname, 'psql.ts')}' "$@"`);
  program(bin, 'tidemark', `exec '${process.execPath}' '${main}' "$@"`);
  return bin;
}

/** Writes a shell script of this name into the folder. */
export function program(bin: Scratch, name: string, script: string): void {
  const file = join(bin.path, name);
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}

/** What the script prints. Rejects, with all that it printed, when one of its commands fails. */
export function bash(script: string, env: Readonly<Record<string, string>>): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-euo', 'pipefail', '-c', script], { env: { ...process.env, ...env } });
    let output = '';
    let complaints = '';
    child.stdout.on('data', (chunk) => (output += String(chunk)));
    child.stderr.on('data', (chunk) => (complaints += String(chunk)));
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(output) : reject(new Error(`bash ended with ${code}: ${complaints}${output}`)),
    );
  });
}
