import { expect, it } from 'vitest';
import { failureKind } from './failure.ts';

it.each([
  ['own', ['22P02', '22021', '23505', '23514', '42P01', '42501', '21000', 'P0001', '0A000', '25001', '44000', '54000']],
  [
    'passing',
    [
      '08006',
      '25006',
      '25P04',
      '28P01',
      '3D000',
      '40001',
      '40P01',
      '53300',
      '55P03',
      '57P01',
      '57P03',
      'ECONNREFUSED',
      'ETIMEDOUT',
      '',
    ],
  ],
  ['unclear', ['57014', 'XX000', '58030']],
] as const)('[I19] a failure is %s: %j', (kind, codes) => {
  for (const code of codes) expect([code, failureKind({ code })]).toEqual([code, kind]);
});

it('[I19] a statement that takes other parameters is at fault itself, a pooler that cannot go on is not', () => {
  expect(failureKind({ code: '08P01', routine: 'exec_bind_message' })).toBe('own');
  expect(failureKind({ code: '08P01' })).toBe('passing');
  // In a transaction that has failed already.
  expect(failureKind({ code: '25P02', routine: 'exec_bind_message' })).toBe('passing');
});

it('[I19] a failure without a code is none of the write', () => {
  expect(failureKind({})).toBe('passing');
});
