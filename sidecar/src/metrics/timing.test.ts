import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { observeTimes } from './timing.ts';

it('times are told of namespaces that are served, and of no others, however many there have been', async () => {
  const registry = new Registry();
  let served = new Set(['a', 'b']);
  const observe = observeTimes(registry, { name: 'it_seconds', help: 'It.', isServed: (name) => served.has(name) });
  const told = async (): Promise<string[]> =>
    [...(await registry.metrics()).matchAll(/^it_seconds_(?:count|sum)\{namespace="(\w+)"\} (\S+)$/gm)].map(
      ([, name, value]) => `${name} ${value}`,
    );
  observe('a', 250);
  observe('b', 1);
  expect(await told()).toEqual(['a 0.25', 'a 1', 'b 0.001', 'b 1']);
  served = new Set(['a']);
  // One that had begun before.
  observe('b', 1);
  expect(await told()).toEqual(['a 0.25', 'a 1']);
  served.add('b');
  observe('b', 2);
  expect(await told()).toEqual(['a 0.25', 'a 1', 'b 0.002', 'b 1']);
});
