import { decodePendingWrite, type PendingWrite, type TidemarkConfig, type WriteStatement } from '@tidemark/proto';

/** A record of the topic of writes. */
export interface WriteRecord {
  readonly offset: number;
  readonly value: Uint8Array;
}

/** A write whose statement is to be run. */
export interface Runnable {
  readonly kind: 'run';
  readonly record: WriteRecord;
  readonly write: PendingWrite;
  readonly statement: WriteStatement;
}

/** A write that no statement can be run for: it is kept where a person sees it. */
export interface Parked {
  readonly kind: 'park';
  readonly record: WriteRecord;
  /** Undefined for a record that is no write. */
  readonly write: PendingWrite | undefined;
  /** SQLSTATE of the statement that failed; undefined where none was run. */
  readonly code: string | undefined;
  readonly why: string;
}

export type FlushStep = Runnable | Parked;

/** What one transaction does. */
export interface FlushPlan {
  /** In the order of their offsets. */
  readonly steps: readonly FlushStep[];
  /** Writes whose statement need not run, because a later write of the same key is among the steps. */
  readonly coalesced: number;
  /** Namespaces that were written to but are not in the document, or take no writes there. */
  readonly missing: ReadonlySet<string>;
}

/** The topic holds what only a later version understands: nothing behind it can be flushed in order. */
export class TooNewError extends Error {
  override name = 'TooNewError';

  constructor(offset: number, version: number) {
    super(
      `the write at offset ${offset} is of version ${version}, which this program does not know: upgrade the flusher (it has to be as new as the sidecars)`,
    );
  }
}

/**
 * Decides what becomes of records that follow each other. Coalescing runs only the last of the writes of a key, in the order of
 * these; without it every write is run, which is exact even where statements of different keys depend on each other.
 * Throws {@link TooNewError}. O(records).
 */
export function planFlush(
  records: readonly WriteRecord[],
  options: { readonly document: TidemarkConfig; readonly source: string; readonly coalesces: boolean },
): FlushPlan {
  const { document, source, coalesces } = options;
  const steps = new Map<string, FlushStep>();
  const missing = new Set<string>();
  let coalesced = 0;
  for (const record of records) {
    const step = stepOf(record, document, source);
    if (step.kind === 'park') {
      if (step.write !== undefined) missing.add(step.write.namespace);
      steps.set(`#${record.offset}`, step);
      continue;
    }
    const { namespace, key } = step.write;
    // A key may hold anything, a namespace no line end.
    const place = coalesces ? `${namespace}\n${key}` : `#${record.offset}`;
    // To the end of the map, where its offset is in order.
    if (steps.delete(place)) coalesced += 1;
    steps.set(place, step);
  }
  return { steps: [...steps.values()], coalesced, missing };
}

function stepOf(record: WriteRecord, document: TidemarkConfig, source: string): FlushStep {
  const decoded = decodePendingWrite(record.value);
  if (decoded.kind === 'too-new') throw new TooNewError(record.offset, decoded.version);
  if (decoded.kind === 'unreadable')
    return { kind: 'park', record, write: undefined, code: undefined, why: `it is no write: ${decoded.why}` };
  const { write } = decoded;
  const found = Object.hasOwn(document.namespaces, write.namespace) ? document.namespaces[write.namespace] : undefined;
  const statement = found?.source === source ? found.writeBehind?.[write.kind] : undefined;
  if (statement !== undefined) return { kind: 'run', record, write, statement };
  const why =
    found?.source === source
      ? `namespace ${write.namespace} has no writeBehind.${write.kind}`
      : `source ${source} has no namespace ${write.namespace}`;
  return { kind: 'park', record, write, code: undefined, why };
}
