import { compileRules, encodeBatch, Op, TableChangesBuilder, type Batch, type NamespaceRules } from '@tidemark/proto';
import type { Fall, Origin, ReplayOutput, ReplayRecord } from '../engine.ts';

export const rules = compileRules([
  { name: 'user', source: 'main', rules: [{ table: 'public.users', keys: ['{id}'], tags: ['all'] }] },
]);

/** One thing that happens to a stream. */
export type Step =
  | { readonly kind: 'publish'; readonly commits: number }
  /** A publisher that was replaced appends what it still had; the new one begins where the topic ended before. */
  | { readonly kind: 'replaced'; readonly commits: number }
  | { readonly kind: 'repeat'; readonly back: number }
  | { readonly kind: 'gap' }
  | { readonly kind: 'epoch' }
  | { readonly kind: 'garbage' };

/** A change of one user, whether a record tells of it or not. */
export interface Truth {
  readonly epoch: number;
  readonly lsn: number;
  readonly id: string;
}

export interface Built {
  readonly records: readonly ReplayRecord[];
  readonly truth: readonly Truth[];
}

/** Writes the stream that some steps make; each commit changes a user of its own. */
export function build(list: readonly Step[]): Built {
  const truth: Truth[] = [];
  const batches: (Batch | undefined)[] = [];
  let [epoch, to, stale] = [1, 100, 0];
  const commit = (count: number): Truth[] => {
    const made = Array.from({ length: count }, () => {
      to += 2;
      return { epoch, lsn: to, id: `${epoch}-${to}` };
    });
    truth.push(...made);
    return made;
  };
  const append = (from: number, end: number, commits: readonly Truth[]): void => {
    batches.push(batchOf({ epoch, from, to: end, commits }));
  };
  append(to, to, []);
  for (const step of list) {
    const from = to;
    if (step.kind === 'publish')
      append(
        from,
        (commit(step.commits), (to += 1)),
        truth.filter(({ epoch: e, lsn }) => e === epoch && lsn > from),
      );
    else if (step.kind === 'replaced') {
      const told = commit(step.commits);
      append(from, to, told);
      // The new one has read less of it, and goes on from there, with smaller records.
      const first = told[0] as Truth;
      append(from, first.lsn, [first]);
      append(first.lsn, to, told.slice(1));
    } else if (step.kind === 'repeat') {
      const old = batches[batches.length - 1 - step.back];
      if (old !== undefined) batches.push(old);
    } else if (step.kind === 'gap') {
      commit(1);
      append(to, (to += 1), []);
    } else if (step.kind === 'epoch') {
      epoch += 1;
      to = Math.max(100, to - 7);
      append(to, to, []);
    } else {
      batches.push(undefined);
      stale += 1;
    }
  }
  const records = batches.map((batch, offset) => ({
    offset,
    timestampMs: 1000 * offset,
    value: batch === undefined ? new Uint8Array([stale]) : encodeBatch(batch),
  }));
  return { records, truth };
}

function batchOf(options: {
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  readonly commits: readonly Truth[];
}): Batch {
  const { epoch, from, to, commits } = options;
  const rows = new TableChangesBuilder(['id']);
  for (const [commit, { id }] of commits.entries()) rows.add({ op: Op.insert, commit, after: [id] });
  return {
    ...{ source: 'main', epoch, from, to, visible: to, heartbeat: false, systemId: 1n, timeline: 1, purges: [] },
    ...{ committedAtUs: 1e15, publishedAtUs: 1e15, covers: [] },
    commits: commits.map(({ lsn }) => lsn),
    tables: commits.length === 0 ? [] : [{ schema: 'public', table: 'users', changes: rows.encode() }],
  };
}

/** What a replay told, as texts. */
export class Told implements ReplayOutput {
  readonly lines: string[] = [];
  readonly keys: Truth[] = [];
  readonly falls: { readonly epoch: number; readonly lsn: number }[] = [];

  key(_namespace: NamespaceRules, id: string, lsn: number, { epoch, table, op }: Origin): void {
    this.keys.push({ epoch, lsn, id });
    this.lines.push(`key ${id} ${epoch}:${lsn} ${table} ${op}`);
  }

  tag(_namespace: NamespaceRules, tag: string, lsn: number, { epoch }: Origin): void {
    this.lines.push(`tag ${tag} ${epoch}:${lsn}`);
  }

  prefix(_namespace: NamespaceRules, prefix: string, lsn: number, { epoch, table, op }: Origin): void {
    this.lines.push(`prefix ${prefix} ${epoch}:${lsn} ${table} ${op}`);
  }

  namespace(_namespace: NamespaceRules, lsn: number, falls: readonly Fall[], { epoch }: Origin): void {
    this.falls.push({ epoch, lsn });
    this.lines.push(`all ${epoch}:${lsn} ${falls.map(({ cause }) => cause).join()}`);
  }
}
