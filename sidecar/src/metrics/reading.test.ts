import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { readCounter, readGauge } from './reading.ts';

it('values are told as they are when somebody asks, and those that are gone are not', async () => {
  const registry = new Registry();
  let values: Record<string, number> = { a: 1, 'b"\\': 2.5 };
  readCounter(registry, {
    ...{ name: 'a_total', help: 'Some.', labels: ['of'] },
    read: (give) => Object.entries(values).forEach(([of, value]) => give({ of }, value)),
  });
  readGauge(registry, { name: 'b', help: 'One.', read: (give) => give({}, Number.POSITIVE_INFINITY) });
  const told =
    '# HELP a_total Some.\n# TYPE a_total counter\na_total{of="a"} 1\na_total{of="b\\"\\\\"} 2.5\n\n# HELP b One.\n# TYPE b gauge\nb +Inf\n';
  expect(await registry.metrics()).toBe(told);
  expect(await registry.metrics()).toBe(told);
  values = {};
  expect(await registry.metrics()).not.toContain('a_total{');
});

it('other work has its turn between any two metrics', async () => {
  const registry = new Registry();
  const order: string[] = [];
  for (const name of ['a', 'b', 'c'])
    readGauge(registry, {
      ...{ name, help: 'It.' },
      read(give) {
        order.push(name);
        give({}, 1);
        setImmediate(() => order.push('other'));
      },
    });
  await Promise.all([registry.metrics(), registry.metrics()]);
  expect(order.slice(0, 6)).toEqual(['a', 'other', 'b', 'other', 'c', 'other']);
});
