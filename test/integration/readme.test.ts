import { spawn } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '@tidemark/proto';
import { scratchFolder } from '../kit/index.ts';
import { useStack } from './support/stack.ts';

// What the documents show is what works.

const root = join(import.meta.dirname, '../..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const scripts = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> })
  .scripts;

/** The code blocks of the README whose opening line is this. */
function blocks(opening: string): string[] {
  return [...readme.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)]
    .filter(([, info]) => info === opening)
    .map(([, , code]) => code as string);
}

describe('the README', () => {
  it('shows a configuration that is accepted', () => {
    const [config] = blocks('yaml config');
    expect(parseConfig(parse(config ?? ''))).toMatchObject({ ok: true });
  });

  it('names commands and files that exist', () => {
    const commands = blocks('sh').join('\n');
    for (const [, name] of commands.matchAll(/^npm (?:run )?(\S+)/gm)) expect(Object.keys(scripts)).toContain(name);
    for (const [, file] of commands.matchAll(/(scripts\/\S+)/g))
      expect(() => readFileSync(join(root, file as string))).not.toThrow();
    for (const [, file] of readme.matchAll(/\]\(([^)#:]+)\)/g))
      expect(() => readFileSync(join(root, file as string))).not.toThrow();
  });

  describe('in its session', () => {
    const used = useStack({
      config: readFileSync(join(root, 'scripts/demo/tidemark.yaml'), 'utf8'),
      initSql: readFileSync(join(root, 'scripts/demo/shop.sql'), 'utf8'),
    });
    const bin = scratchFolder('bin');
    afterAll(() => bin.remove());

    it('misses, fills, hits, and misses again once the row has changed', async () => {
      // A psql for machines without one: the last argument is the statement, the one before -c the address.
      const shim = join(bin.path, 'psql');
      const pg = import.meta.resolve('pg');
      writeFileSync(
        shim,
        `#!/bin/sh\nexec '${process.execPath}' --input-type=module -e "
import pg from '${pg}';
const client = new pg.Client(process.argv[2]);
await client.connect();
await client.query(process.argv[4]);
await client.end();
" -- "$@"\n`,
      );
      chmodSync(shim, 0o755);
      const [session] = blocks('sh session');
      const output = await bash(session ?? '', {
        SIDECAR: used.stack.sidecars[0]?.url ?? '',
        POSTGRES: used.stack.postgres,
        PATH: `${bin.path}:${process.env['PATH']}`,
      });
      expect(output.split('\n')).toEqual([
        '201',
        '{"id":42,"stock":1000}',
        expect.stringMatching(/^tidemark; hit; ttl=\d+; detail=l1$/),
        '404',
        '',
      ]);
    });

    it('replays what that was, and tries rules on a capture of it', async () => {
      writeFileSync(
        join(bin.path, 'npx'),
        `#!/bin/sh\ncommand="$1"; shift\nexec '${join(root, 'node_modules/.bin')}'/"$command" "$@"\n`,
      );
      chmodSync(join(bin.path, 'npx'), 0o755);
      const [replay] = blocks('sh replay');
      const output = await bash(`cd '${bin.path}'\n${replay ?? ''}`, {
        TIDEMARK_CONFIG: used.stack.configFile,
        TIDEMARK_KAFKA_BROKERS: used.stack.brokers.join(','),
        PATH: `${bin.path}:${process.env['PATH']}`,
      });
      const line = { namespace: 'product', kind: 'key', name: '42', table: 'public.products', op: 'update' };
      const lines = output.split('\n').filter((text) => text.startsWith('{'));
      expect(lines.map((text) => JSON.parse(text) as unknown)).toContainEqual(expect.objectContaining(line));
      expect(output.match(/^product +[0-9a-f]{16} +1 +1 /gm)).toHaveLength(2);
      expect(output).toContain('Both sets of rules invalidate the same.');
    });
  });
});

function bash(script: string, env: Record<string, string>): Promise<string> {
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
