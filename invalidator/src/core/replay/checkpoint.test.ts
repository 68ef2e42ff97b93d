import { expect, it } from 'vitest';
import { formatCheckpoint, parseCheckpoint, type Checkpoint } from './checkpoint.ts';

const identity = { records: 'topic t', into: 'redis', rules: ['user=0123456789abcdef'] };
const counts = { records: 1, changes: 2, repeated: 0, unreadable: 0, gaps: 0, epochs: 0 };
const checkpoint: Checkpoint = {
  identity,
  state: { nextOffset: 5, position: { epoch: 2, applied: 2 ** 52 }, isInside: true, isBroken: false, counts },
  logs: [{ generation: 'g', epoch: 2, to: 7 }, null],
};

it('a checkpoint reads as it was written', () => {
  expect(parseCheckpoint(formatCheckpoint(checkpoint), identity)).toEqual(checkpoint);
});

it.each([
  ['', 'something else than a checkpoint'],
  ['{"format":"tidemark-replay-1","state":{}}', 'something else than a checkpoint of this version'],
  [formatCheckpoint({ ...checkpoint, identity: { ...identity, into: 'stdout' } }), '(into: stdout), expected redis'],
  [
    formatCheckpoint({ ...checkpoint, identity: { ...identity, rules: [] } }),
    '(rules: ), expected user=0123456789abcdef',
  ],
])('%j is not gone on with', (text, said) => {
  expect(() => parseCheckpoint(text, identity)).toThrow(said);
});
