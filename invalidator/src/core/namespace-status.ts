import { STATUS_LIMITS } from '@tidemark/proto';
import { canonicalJson } from './canonical.ts';
import type { Refusal } from './coverage.ts';
import type { Verdict } from './effective-config.ts';

/** As in Kubernetes: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration: number;
}

/** `status` of a CacheNamespace. */
export interface NamespaceStatus {
  readonly observedGeneration: number;
  readonly source: string;
  readonly rulesHash?: string;
  readonly mend?: readonly string[];
  readonly conditions: readonly Condition[];
}

/** What is known of coverage. */
export type CoverageView =
  /** No record for a while: why, in words. */
  | { readonly kind: 'unknown'; readonly why: string }
  | {
      readonly kind: 'known';
      readonly covers: ReadonlySet<bigint>;
      readonly refusals: readonly Refusal[];
      readonly isSettling: boolean;
    };

type Finding = Pick<Condition, 'status' | 'reason' | 'message'> & { readonly mend?: readonly string[] };

/** What to say of a resource; undefined of one that belongs to another source. Pure: the time is passed in. */
export function statusOf(options: {
  readonly name: string;
  readonly generation: number;
  readonly source: string;
  readonly verdict: Verdict;
  readonly coverage: CoverageView;
  /** What it says now; times of what stays are kept. */
  readonly present: { readonly conditions?: readonly Condition[] } | undefined;
  /** RFC 3339. */
  readonly now: string;
}): NamespaceStatus | undefined {
  const { generation, source, verdict, present, now } = options;
  if (verdict.kind === 'ignored') return undefined;
  const served = servedOf(options);
  const condition = (type: string, { status, reason, message }: Finding): Condition => {
    const before = present?.conditions?.find((one) => one.type === type);
    const lastTransitionTime = before?.status === status ? before.lastTransitionTime : now;
    const short = clipped(message, STATUS_LIMITS.messageChars);
    return { type, status, reason, message: short, lastTransitionTime, observedGeneration: generation };
  };
  const { statements, statementChars } = STATUS_LIMITS;
  // Half a statement would be worse than none.
  const mend = (served.mend ?? []).filter((sql) => sql.length <= statementChars).slice(0, statements);
  return {
    observedGeneration: generation,
    source,
    ...(verdict.kind === 'accepted' && verdict.hash !== undefined && { rulesHash: hex(verdict.hash) }),
    ...(mend.length > 0 && { mend }),
    conditions: [condition('Accepted', acceptedOf(verdict)), condition('Served', served)],
  };
}

/** Whether two statuses say the same. */
export function saysTheSame(a: unknown, b: unknown): boolean {
  return canonicalJson(a ?? {}) === canonicalJson(b ?? {});
}

function acceptedOf(verdict: Exclude<Verdict, { kind: 'ignored' }>): Finding {
  return verdict.kind === 'refused'
    ? { status: 'False', reason: verdict.reason, message: verdict.message }
    : { status: 'True', reason: 'Accepted', message: 'it is part of the configuration' };
}

function servedOf({ name, verdict, coverage }: Parameters<typeof statusOf>[0]): Finding {
  if (verdict.kind !== 'accepted')
    return { status: 'False', reason: 'NotAccepted', message: 'it is not part of the configuration' };
  if (verdict.hash === undefined)
    return { status: 'True', reason: 'TtlOnly', message: 'nothing invalidates it: entries live until their TTL' };
  if (coverage.kind === 'unknown') return { status: 'Unknown', reason: 'NotFollowed', message: coverage.why };
  const { covers, refusals, isSettling } = coverage;
  if (covers.has(verdict.hash))
    return { status: 'True', reason: 'Covered', message: 'every change that its rules need reaches the caches' };
  const own = refusals.filter(({ namespace }) => namespace === name);
  const [first] = own;
  if (first !== undefined) {
    const mend = [...new Set(own.flatMap(({ sql }) => sql))];
    const why = [...new Set(own.map(({ reason }) => reason))].join('; ');
    const message = mend.length === 0 ? why : `${why}. To mend it: ${mend.join(' ')}`;
    return { status: 'False', reason: first.code, message, mend };
  }
  if (isSettling) {
    const message = 'waiting until transactions have ended that were open when its tables were published';
    return { status: 'False', reason: 'WaitingForTransactions', message };
  }
  return { status: 'Unknown', reason: 'Pending', message: 'its rules are being taken up' };
}

function clipped(text: string, chars: number): string {
  return text.length <= chars ? text : `${text.slice(0, chars - 3)}...`;
}

function hex(hash: bigint): string {
  return hash.toString(16).padStart(16, '0');
}
