import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '@tidemark/proto';
import { bash, program, programsFolder } from './support/bash.ts';
import { Page } from './support/page.ts';
import { useStack } from './support/stack.ts';

// What the documents show is what works.

const root = join(import.meta.dirname, '../..');
const readme = new Page(join(root, 'README.md'));
const scripts = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> })
  .scripts;

describe('the README', () => {
  it('shows a configuration that is accepted', () => {
    const [config] = readme.blocks('yaml config');
    expect(parseConfig(parse(config ?? ''))).toMatchObject({ ok: true });
  });

  it('names commands and files that exist', () => {
    const commands = readme.blocks('sh').join('\n');
    for (const [, name] of commands.matchAll(/^npm (?:run )?(\S+)/gm)) expect(Object.keys(scripts)).toContain(name);
    for (const [, file] of commands.matchAll(/(scripts\/\S+)/g))
      expect(() => readFileSync(join(root, file as string))).not.toThrow();
    expect(readme.linkedFiles().filter((file) => !existsSync(file))).toEqual([]);
  });

  describe('in its session', () => {
    const used = useStack({
      config: readFileSync(join(root, 'scripts/demo/tidemark.yaml'), 'utf8'),
      initSql: readFileSync(join(root, 'scripts/demo/shop.sql'), 'utf8'),
      // What it shows does not depend on how fast the machine is.
      env: { sidecar: { TIDEMARK_MAX_STALENESS: '60s', TIDEMARK_REDIS_DEADLINE: '10s' } },
    });
    const bin = programsFolder();
    afterAll(() => bin.remove());

    it('misses, fills, hits, and misses again once the row has changed', async () => {
      const [session] = readme.blocks('sh session');
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
      program(bin, 'npx', `command="$1"; shift\nexec '${join(root, 'node_modules/.bin')}'/"$command" "$@"`);
      const [replay] = readme.blocks('sh replay');
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
