import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readdirSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { addressesOf, type Scratch, scratchFolder } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';

const script = fileURLToPath(new URL('../../scripts/demo.ts', import.meta.url));
const scratches: Scratch[] = [];

afterEach(() => Promise.all(scratches.splice(0).map((scratch) => scratch.remove())));

/**
 * Runs the demo as its own process to its end; with servers of its own, where none are named. It is asked to end once it has printed
 * what is waited for.
 */
async function demo(
  args: readonly string[],
  { servers = {}, until }: { servers?: Readonly<Record<string, string>>; until?: RegExp } = {},
): Promise<{ code: number | null; output: string; left: string[] }> {
  const scratch = scratchFolder('demo');
  scratches.push(scratch);
  chmodSync(scratch.path, 0o755);
  const env = { ...process.env, ...servers, TMPDIR: scratch.path };
  const child = spawn(process.execPath, [script, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => {
    if (until === undefined || until.test(printed)) return;
    printed += chunk.toString();
    if (until.test(printed)) child.kill('SIGTERM');
  });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return {
    code: code as number | null,
    output: stderr + stdout,
    left: readdirSync(scratch.path).filter((name) => name.startsWith('tidemark-')),
  };
}

test('the demo serves no stale read while its parts are killed, and leaves nothing behind', async () => {
  const { code, output, left } = await demo(['--seconds', '15', '--plain', '--chaos']);
  expect(output).toMatch(/^stale reads: 0$/m);
  expect(code).toBe(0);
  expect(Number(/hit ratio ([\d.]+)%/.exec(output)?.[1])).toBeGreaterThan(0);
  expect(output).toMatch(/killed|paused|flushed/);
  expect(left).toEqual([]);
});

test('the checker of the demo finds what a rule on the wrong table does', async () => {
  const { postgres, kafka, redis } = addressesOf(sharedServers());
  const servers = {
    TIDEMARK_TEST_POSTGRES_URL: postgres,
    TIDEMARK_TEST_KAFKA_BROKERS: kafka.join(','),
    TIDEMARK_TEST_REDIS_URL: redis,
  };
  const { code, output } = await demo(['--seconds', '120', '--plain', '--wrong-rule'], {
    servers,
    until: /stale reads: [1-9]/,
  });
  expect(output).toMatch(
    /^ {2}sidecar-\d served price\/\S+ under W = \S+ with prices\/\S+ at version \d+, but version \d+ was committed at or before W$/m,
  );
  expect(code).toBe(1);
});

test('an argument that makes no sense is told in a sentence, and nothing is started', async () => {
  const { code, output } = await demo(['--seconds', 'soon']);
  expect(output).toBe('tidemark: --seconds is "soon", but must be a number above 0 and at most 1000000.\n');
  expect(code).toBe(1);
});
