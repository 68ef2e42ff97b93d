import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { faultKinds } from './faults/index.ts';
import type { Report } from './report.ts';

const script = fileURLToPath(new URL('../../scripts/history.ts', import.meta.url));

/** Runs a history as its own process to its end, on servers of its own. */
async function history(args: readonly string[]): Promise<{ code: number | null; report: string; told: string }> {
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const [report, told, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code: code as number | null, report, told };
}

test('[I6] whatever fails, and whatever fails together, no cache serves a value that lacks what it has applied', async () => {
  const { code, report, told } = await history(['--seed', '1', '--hurry', '--json']);
  expect(code, `${told}\n${report}`).toBe(0);
  const { stale, violations, faults, operations } = JSON.parse(report) as Report;
  expect({ stale, violations }).toEqual({ stale: 0, violations: [] });
  expect(Object.keys(faults).toSorted()).toEqual(faultKinds.map(({ name }) => name).toSorted());
  expect(
    Math.min(operations.l1, operations.l2, operations.misses, operations.writes, operations.purges),
  ).toBeGreaterThan(20);
  expect(operations.checked).toBeGreaterThan(500);
  // More than the one that they begin with: changes arrive, although other things fail meanwhile.
  expect(operations.documents).toBeGreaterThan(10);
}, 900_000);

test('the checker finds what a rule on the wrong table does, and shows how it came to it', async () => {
  const { code, report } = await history(['--seed', '2', '--wrong-rule', '--faults', 'kill-sidecar']);
  expect(code).toBe(1);
  // Whoever meets it first: the rule that W sets, or a user whose own write is gone.
  expect(report).toMatch(
    /^violation: (sidecar-\d served (item|shelf)\/\d+ under W = \S+ with|user-\d.* was shown) items\/\d+ at version \d+, (written on timeline \d+, )?but .*\bversion \d+/m,
  );
  expect(report).toMatch(/^ +\d+\.\d{3} s {2}commit of version \d+ at or before \S+, timeline 1$/m);
  expect(report).toMatch(/^seed 2,/m);
}, 400_000);
