import { expect, test, vi } from 'vitest';
import { freePort } from './ports.ts';

async function portsOf(worker: string, count: number): Promise<number[]> {
  vi.stubEnv('VITEST_POOL_ID', worker);
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}

test('a port is given to nobody else while its server is not there yet: neither here nor to files that run at once', async () => {
  const ports = [...(await portsOf('1', 300)), ...(await portsOf('2', 300)), ...(await portsOf('', 300))];
  expect(new Set(ports).size).toBe(900);
  const parts = [0, 300, 600].map((from) => ports.slice(from, from + 300).toSorted((a, b) => a - b));
  parts.sort(([a = 0], [b = 0]) => a - b);
  for (const [i, part] of parts.slice(1).entries()) expect(part[0]).toBeGreaterThan(parts[i]!.at(-1)!);
});
