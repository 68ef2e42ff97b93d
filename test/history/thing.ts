import type { SeenRow } from './checker.ts';
import type { Row } from './database.ts';

/** A value, and what a fill with it says of it. */
export interface Loaded {
  readonly value: unknown;
  readonly headers: Readonly<Record<string, string>>;
}

/** Something that is cached: where, how it is loaded, and which rows a value of it shows. */
export interface Thing {
  readonly namespace: string;
  readonly key: string;
  /** What a fill says now for a miss that has come. */
  readonly tags: () => readonly string[];
  readonly load: () => Promise<unknown>;
  /** From a standby that may lag, and how far it was. Undefined where there is none. */
  readonly loadOld?: () => Promise<Loaded | undefined>;
  readonly rowsOf: (value: unknown) => SeenRow[];
}

/** What a value shows of a row. */
export function seen(table: string, id: number, row: Row | undefined): SeenRow {
  const { version = 0, timeline = 1, isOfStandby = false } = row ?? {};
  return { row: `${table}/${id}`, version, timeline, isOfStandby };
}
