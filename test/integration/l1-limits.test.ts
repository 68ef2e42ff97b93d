import { L1_POLICIES } from '@tidemark/proto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createStack, type Stack } from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { showLogsOnFailure } from './support/stack.ts';

const TOTAL_BYTES = 256 * 1024;
const VALUE = 'x'.repeat(1_000);

const common = { source: 'main', invalidation: 'ttl_only', l2: { enabled: false } };
let stack: Stack;
let url: string;

beforeAll(async () => {
  const namespaces = L1_POLICIES.map((policy) => [policy, { ...common, l1: { maxBytes: '1MiB', policy } }]);
  stack = await createStack(sharedServers(), {
    config: JSON.stringify({ sources: { main: { topic: 'main' } }, namespaces: Object.fromEntries(namespaces) }),
    env: { sidecar: { TIDEMARK_L1_MAX_BYTES: `${TOTAL_BYTES}B` } },
  });
  url = stack.sidecars[0]?.url ?? '';
}, 60_000);

afterAll(() => stack.stop());

async function put(namespace: string, key: string): Promise<void> {
  const answer = await fetch(`${url}/v1/cache/${namespace}/${key}`, { method: 'PUT', body: VALUE });
  expect([200, 201, 204]).toContain(answer.status);
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${stack.sidecars[0]?.admin}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1));
}

const bytesOf = (namespace: string): Promise<number> => metric(`tidemark_l1_bytes{namespace="${namespace}"}`);

it('namespaces of every policy borrow what others leave, and get their share back', async () => {
  showLogsOnFailure(stack);
  const [first, ...others] = L1_POLICIES;
  for (let i = 0; i < 300; i++) await put(first, `k${i}`);
  expect(await bytesOf(first)).toBeGreaterThan(0.95 * TOTAL_BYTES);
  for (let i = 0; i < 100; i++) for (const policy of others) await put(policy, `k${i}`);
  let sum = 0;
  for (const policy of L1_POLICIES) {
    const bytes = await bytesOf(policy);
    expect(bytes).toBeGreaterThan(TOTAL_BYTES / L1_POLICIES.length - 3_000);
    sum += bytes;
  }
  expect(sum).toBeLessThanOrEqual(TOTAL_BYTES);
  const displaced = (reason: string) => metric(`tidemark_l1_displaced_total{namespace="${first}",reason="${reason}"}`);
  expect([await displaced('bytes'), await displaced('entries'), await displaced('total_entries')]).toEqual([0, 0, 0]);
  expect(await displaced('total_bytes')).toBeGreaterThan(200);
  expect(await metric('tidemark_l1_total_max_bytes')).toBe(TOTAL_BYTES);
});
