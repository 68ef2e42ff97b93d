import { existsSync, globSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '@tidemark/proto';
import { createStack, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { bash, programsFolder } from './support/bash.ts';
import { supplied } from './support/needs.ts';
import { comparable, Page } from './support/page.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';

// What the pages show is what works. CONTRIBUTING.md says how a page is written.

const root = join(import.meta.dirname, '../..');
const bin = programsFolder();
afterAll(() => bin.remove());

describe.each(globSync('*/docs/*.md', { cwd: root }).toSorted())('%s', (file) => {
  const page = new Page(join(root, file));
  const configs = page.blocks('yaml config');
  const session = page.session();

  it('links files that exist', () => {
    expect(page.linkedFiles().filter((linked) => !existsSync(linked))).toEqual([]);
  });

  it('shows configurations that are accepted', () => {
    for (const config of configs) expect(parseConfig(parse(config))).toMatchObject({ ok: true });
  });

  if (session === undefined) return;
  describe('in its session', () => {
    const stops: (() => Promise<unknown>)[] = [];
    let stack: Stack;
    let env: Readonly<Record<string, string>>;

    beforeAll(async () => {
      const [config] = configs;
      if (config === undefined) throw new Error(`${file} has a session and no block \`yaml config\` to run it with`);
      const supply = await supplied(page.needs());
      stops.push(supply.stop);
      stack = await createStack(sharedServers(), {
        config: supply.config(config),
        initSql: page.blocks('sql init').join('\n'),
        sidecars: /\$\{?SIDECAR2/.test(session.script) ? 2 : 1,
        env: supply.env ?? {},
        redis: supply.redis,
      });
      stops.push(stack.stop);
      await cacheable(stack);
      env = {
        ...supply.session,
        SIDECAR: stack.sidecars[0]?.url ?? '',
        SIDECAR2: stack.sidecars[1]?.url ?? '',
        ADMIN: stack.sidecars[0]?.admin ?? '',
        INVALIDATOR: stack.invalidator.url,
        POSTGRES: stack.postgres,
        PATH: `${bin.path}:${process.env['PATH']}`,
      };
    });

    afterAll(async () => {
      for (const stop of stops.toReversed()) await stop();
    });

    it('prints what it says', async () => {
      showLogsOnFailure(stack);
      const { printed, shown } = comparable(await bash(session.script, env), session.prints);
      expect(printed).toEqual(shown);
    });
  });
});
