import { expect, it } from 'vitest';
import { Marks } from './marks.ts';

it('marks reach the one who listens for their word, with the rest of their text', () => {
  const marks = new Marks();
  const heard: [string, number][] = [];
  marks.on('write', (rest, lsn) => heard.push([rest, lsn]));
  for (const text of ['write:a', 'write:', 'write:a:b', 'write', 'other:a', ':a', '']) marks.tell(text, 7, true);
  expect(heard).toEqual([
    ['a', 7],
    ['', 7],
    ['a:b', 7],
  ]);
  expect(() => marks.on('write', () => undefined)).toThrow('have a listener already');
});
