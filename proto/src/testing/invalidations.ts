import type { Batch } from '../batch.ts';
import { compileRules, invalidate, type NamespaceRules, type RulesInput } from '../rules.ts';

/** Commit positions of {@link batchOf}, and where it ends. */
export const COMMITS = [110, 120, 130];
export const TO = 1000;

/** One call of the sink. */
export interface Sent {
  readonly kind: 'key' | 'tag' | 'prefix' | 'namespace';
  readonly namespace: string;
  /** '' for a namespace. */
  readonly name: string;
  readonly lsn: number;
}

/** All that a batch of this content invalidates under these rules. */
export function sentBy(
  rules: readonly RulesInput[],
  content: Partial<Batch>,
): { sent: readonly Sent[]; unreadable: number } {
  const sent: Sent[] = [];
  const put = (kind: Exclude<Sent['kind'], 'namespace'>) => (namespace: NamespaceRules, name: string, lsn: number) => {
    sent.push({ kind, namespace: namespace.name, name, lsn });
  };
  const sink = {
    key: put('key'),
    tag: put('tag'),
    prefix: put('prefix'),
    namespace: (namespace: NamespaceRules, lsn: number) => {
      sent.push({ kind: 'namespace', namespace: namespace.name, name: '', lsn });
    },
  };
  const { unreadable } = invalidate(compileRules(rules), batchOf(content), sink);
  return { sent, unreadable };
}

/** A batch of (100, TO] in epoch 1. */
export function batchOf(content: Partial<Batch>): Batch {
  return {
    source: 'main',
    epoch: 1,
    from: 100,
    to: TO,
    visible: TO,
    committedAtUs: 0,
    publishedAtUs: 0,
    systemId: 0n,
    timeline: 1,
    heartbeat: false,
    covers: [],
    commits: COMMITS,
    tables: [],
    purges: [],
    ...content,
  };
}
