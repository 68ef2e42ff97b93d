import { expect, it } from 'vitest';
import { positionIn } from './position.ts';

const server = { lsn: 0x16b374d848, systemId: 7n, timeline: 2 };

it('a position is told in the epoch that is followed', () => {
  expect(positionIn('main', { epoch: 5, systemId: 7n, timeline: 2 }, server)).toEqual({
    source: 'main',
    epoch: 5,
    lsn: '16/B374D848',
  });
});

it.each([
  ['before anything is followed', undefined],
  ['of another server', { epoch: 5, systemId: 8n, timeline: 2 }],
  ['of a server that was promoted since', { epoch: 5, systemId: 7n, timeline: 1 }],
])('there is none %s', (_when, followed) => {
  expect(positionIn('main', followed, server)).toBeUndefined();
});
