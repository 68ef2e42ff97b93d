import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createStack, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { tidemark } from './support/command.ts';
import { showLogsOnFailure } from './support/stack.ts';

// What helm test runs: the whole way from a commit to a sidecar's memory.

let stack: Stack;

beforeAll(async () => {
  stack = await createStack(sharedServers(), {
    config: {
      namespaces: {
        'tidemark-selftest': { source: 'main', invalidate: [{ table: 'public.tidemark_selftest', keys: ['{id}'] }] },
        deaf: { source: 'main', invalidate: [{ table: 'public.other', keys: ['{id}'] }] },
      },
    },
    initSql: 'create table other (id text primary key)',
    // A busy machine may hear nothing of the stream for seconds.
    env: { sidecar: { TIDEMARK_MAX_STALENESS: '60s' } },
  });
});
afterAll(() => stack?.stop());
beforeEach(() => showLogsOnFailure(stack));

const selftest = (args: readonly string[] = [], env: Readonly<Record<string, string>> = {}) =>
  tidemark(['selftest', ...args], {
    TIDEMARK_URL: stack.sidecars[0]?.url ?? '',
    TIDEMARK_POSTGRES_URL: stack.postgres,
    // What the pod of the chart has besides.
    TIDEMARK_SOURCE: 'main',
    TIDEMARK_INSTANCE: 'selftest',
    TIDEMARK_LOG_LEVEL: 'info',
    ...env,
  });

describe('tidemark selftest', () => {
  it('makes its table, sees a row come and go, and says how long that took', async () => {
    for (let round = 0; round < 2; round++) {
      const { code, stdout, stderr } = await selftest();
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(
        /^1\. wrote row [0-9a-f-]{36} to public\.tidemark_selftest\n2\. http:.* serves the namespace/,
      );
      const [, ms] = /gone ([\d.]+) ms after the commit/.exec(stdout) ?? [];
      // How long it takes on which machine is measured by `npm run bench`.
      expect(Number(ms)).toBeGreaterThan(0);
      expect(stdout).toMatch(/Tidemark works: .*\n$/);
      expect(await stack.sql('select * from tidemark_selftest')).toEqual([]);
    }
  });

  it('fails where the eviction does not come, and leaves no row', async () => {
    const { code, stdout, stderr } = await selftest(['--namespace', 'deaf', '--deadline', '15s']);
    expect(code).toBe(1);
    expect(stdout).toContain('3. read: a miss with a lease; filled the value; read again: a hit');
    expect(stderr).toMatch(/^the eviction of the old value did not come within 15 s: it is still served/);
    expect(await stack.sql('select * from tidemark_selftest')).toEqual([]);
  });

  it.each([
    [
      'an unknown namespace',
      ['--namespace', 'nobody'],
      {},
      /a lease in the namespace did not come within 2 s: found status 404/,
    ],
    ['no sidecar', [], { TIDEMARK_URL: 'http://127.0.0.1:1' }, /did not come within 2 s: found no answer \(/],
  ] as const)('says why it could not begin: %s', async (_what, args, env, words) => {
    const { code, stderr } = await selftest([...args, '--deadline', '2s'], env);
    expect([code, stderr]).toEqual([1, expect.stringMatching(words)]);
  });

  it('says what a role needs that may not make the table', async () => {
    const user = `${stack.slot}_weak`;
    await stack.sql(`create role ${user} login password 'secret'`);
    onTestFinished(async () => void (await stack.sql(`drop role ${user}`)));
    const url = new URL(stack.postgres);
    [url.username, url.password] = [user, 'secret'];
    const { code, stderr } = await selftest(['--table', 'public.elsewhere'], { TIDEMARK_POSTGRES_URL: url.href });
    expect(code).toBe(1);
    expect(stderr).toContain(`role ${user} may not make the table of the self-test`);
    expect(stderr).toContain('CREATE TABLE public.elsewhere (id text PRIMARY KEY');
  });
});
