import type { RulesInput } from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import { LiveRules } from './live-rules.ts';
import type { CoverageReport } from './rules-feed.ts';

const input = (name: string, key = '{id}'): RulesInput => ({
  name,
  source: 'main',
  rules: [{ table: 'public.t', keys: [key], tags: [] }],
});
const report: CoverageReport = { covers: [], refusals: [], isSettling: false };

function live(rules: readonly RulesInput[], before: readonly RulesInput[] = []) {
  const clock = { nowMs: 0 };
  return { clock, rules: new LiveRules({ rules, before, retiredForMs: 100, nowMs: () => clock.nowMs }) };
}

describe('LiveRules', () => {
  it('end a session that has published when they change, and no other', () => {
    const { rules } = live([input('a')]);
    const first = rules.next();
    rules.change([input('b')]);
    expect(first.changed.aborted).toBe(false);
    first.onPublished(report);
    expect(first.changed.aborted).toBe(true);
    const second = rules.next();
    second.onPublished(report);
    expect([rules.change([input('b')]), second.changed.aborted]).toEqual([false, false]);
    expect([rules.change([input('c')]), second.changed.aborted]).toEqual([true, true]);
  });

  it('go on claiming what they were, for a while', () => {
    const { rules, clock } = live([input('a', '{x}')], [input('a'), input('gone')]);
    const turn = rules.next();
    const hashes = (set: { readonly namespaces: readonly { readonly name: string }[] }) =>
      set.namespaces.map(({ name }) => name);
    expect(hashes(turn.rules.current)).toEqual(['a']);
    expect(hashes(turn.rules.retired)).toEqual(['a', 'gone']);
    expect(hashes(turn.rules.all)).toEqual(['a', 'a', 'gone']);
    expect(turn.claimsRetired()).toBe(true);
    clock.nowMs = 100;
    expect(turn.claimsRetired()).toBe(false);
  });

  it('report what is covered by the rules of now only once a record was published by them', () => {
    const { rules } = live([input('a')]);
    const first = rules.next();
    first.onPublished(report);
    expect(rules.report).toBe(report);
    rules.change([input('b')]);
    expect(rules.report).toBeUndefined();
    expect(rules.newest?.report).toBe(report);
    const second = rules.next();
    expect(rules.report).toBeUndefined();
    second.onPublished(report);
    expect(rules.report).toBe(report);
  });
});
