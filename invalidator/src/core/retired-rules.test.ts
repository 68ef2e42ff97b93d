import type { RulesInput } from '@tidemark/proto';
import { expect, it } from 'vitest';
import { MAX_RETIRED, RetiredRules } from './retired-rules.ts';

const input = (name: string, key = '{id}'): RulesInput => ({
  name,
  source: 'main',
  rules: [{ table: 'public.t', keys: [key], tags: [] }],
});
const names = (retired: RetiredRules) => retired.inputs.map(({ name, rules }) => `${name} ${rules[0]!.keys[0]}`);

it('remembers what was replaced or taken away, until its time is over or it is back', () => {
  const retired = new RetiredRules(100);
  retired.replace([input('a'), input('b')], [input('a', '{x}')], 0);
  expect(names(retired)).toEqual(['a {id}', 'b {id}']);
  retired.replace([input('a', '{x}')], [input('b')], 50);
  expect(names(retired)).toEqual(['a {id}', 'a {x}']);
  retired.replace([input('b')], [input('b')], 120);
  expect(names(retired)).toEqual(['a {x}']);
});

it('remembers no more than its limit: the latest', () => {
  const retired = new RetiredRules(100);
  retired.replace(
    Array.from({ length: MAX_RETIRED + 5 }, (_, i) => input(`n${i}`)),
    [],
    0,
  );
  expect(retired.inputs).toHaveLength(MAX_RETIRED);
  expect(retired.inputs[0]?.name).toBe('n5');
});
