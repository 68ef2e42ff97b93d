import { describe, expect, it } from 'vitest';
import type { Refusal } from './coverage.ts';
import type { Verdict } from './effective-config.ts';
import { saysTheSame, statusOf, type CoverageView, type NamespaceStatus } from './namespace-status.ts';

const accepted: Verdict = { kind: 'accepted', hash: 7n };
const known = (more: Partial<Extract<CoverageView, { kind: 'known' }>> = {}): CoverageView => ({
  kind: 'known',
  covers: new Set(),
  refusals: [],
  isSettling: false,
  ...more,
});
const refusal: Refusal = {
  namespace: 'users',
  table: 'public.users',
  code: 'ReplicaIdentity',
  reason: 'the replica identity of public.users gives no old rows at all',
  sql: ['ALTER TABLE public.users REPLICA IDENTITY FULL;'],
};

function status(verdict: Verdict, coverage: CoverageView, more: { present?: NamespaceStatus; now?: string } = {}) {
  const { present, now = '2026-01-01T00:00:00Z' } = more;
  return statusOf({ name: 'users', generation: 3, source: 'main', verdict, coverage, present, now });
}

const served = (verdict: Verdict, coverage: CoverageView) => {
  const { conditions = [] } = status(verdict, coverage) ?? {};
  const { status: word, reason } = conditions.find(({ type }) => type === 'Served')!;
  return `${word} ${reason}`;
};

describe('statusOf', () => {
  it.each<[string, Verdict, CoverageView, string]>([
    ['claimed', accepted, known({ covers: new Set([7n]) }), 'True Covered'],
    ['refused by the catalog', accepted, known({ refusals: [refusal] }), 'False ReplicaIdentity'],
    ['refused, and claimed still', accepted, known({ refusals: [refusal], covers: new Set([7n]) }), 'True Covered'],
    ['another one refused', accepted, known({ refusals: [{ ...refusal, namespace: 'x' }] }), 'Unknown Pending'],
    ['waiting for older transactions', accepted, known({ isSettling: true }), 'False WaitingForTransactions'],
    ['no record for a while', accepted, { kind: 'unknown', why: 'away' }, 'Unknown NotFollowed'],
    ['without invalidation', { kind: 'accepted', hash: undefined }, known(), 'True TtlOnly'],
    ['not accepted', { kind: 'refused', reason: 'Invalid', message: '' }, known(), 'False NotAccepted'],
  ])('Served: %s', (_, verdict, coverage, expected) => {
    expect(served(verdict, coverage)).toBe(expected);
  });

  it('names what mends it, in words and as SQL', () => {
    const found = status(accepted, known({ refusals: [refusal, { ...refusal, table: 'public.x', sql: [] }] }));
    expect(found).toMatchObject({ mend: refusal.sql, rulesHash: '0000000000000007', observedGeneration: 3 });
    expect(found?.conditions[1]?.message).toBe(`${refusal.reason}. To mend it: ${refusal.sql[0]}`);
  });

  it('keeps the time of what stays, and says the same again', () => {
    const first = status(accepted, known())!;
    const second = status(accepted, known(), { present: first, now: '2027-01-01T00:00:00Z' })!;
    expect(saysTheSame(first, second)).toBe(true);
    const third = status(accepted, known({ covers: new Set([7n]) }), { present: first, now: '2027-01-01T00:00:00Z' })!;
    expect(third.conditions.map(({ lastTransitionTime }) => lastTransitionTime)).toEqual([
      '2026-01-01T00:00:00Z',
      '2027-01-01T00:00:00Z',
    ]);
  });

  it('fits the limits of the definition, and never cuts a statement', () => {
    const many = Array.from({ length: 1000 }, (_, i) => ({
      ...refusal,
      reason: `r${i}`.repeat(10),
      sql: [`${'x'.repeat(i % 2 === 0 ? 3000 : 30)}${i};`],
    }));
    const found = status(accepted, known({ refusals: many }))!;
    expect(found.mend).toHaveLength(64);
    for (const sql of found.mend!) expect(sql).toMatch(/^x{30}\d+;$/);
    expect(found.conditions[1]!.message.length).toBeLessThanOrEqual(4096);
  });

  it('says nothing of what belongs to another source', () => {
    expect(status({ kind: 'ignored' }, known())).toBeUndefined();
  });
});
