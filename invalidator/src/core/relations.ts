import { Cell, type CellValue, type CompiledRules } from '@tidemark/proto';
import type { RelationColumn } from './pgoutput.ts';

/** How the rows of one relation become cells of one rule table. */
export interface Projection {
  /** The rule table, `schema.table`. */
  readonly table: string;
  readonly columns: readonly string[];
  /** For each column of the relation its place among `columns`, or -1. */
  readonly places: readonly number[];
  /** The old row of an update that sent none: its identity is the new one's, the rest is unknown. */
  readonly unsentOld: readonly CellValue[];
  /** Places of columns outside the replica identity: a key tuple says null for them and knows nothing. */
  readonly outsideIdentity: readonly number[];
}

/** What the rows of a relation are to us. */
export type Target =
  | { readonly kind: 'ignored' }
  /** Its rows belong to these rule tables: its own and those of its ancestors. */
  | { readonly kind: 'projected'; readonly projections: readonly Projection[] }
  /** Nobody can say any more whose partition it was: every row of these tables may have changed. */
  | { readonly kind: 'coarse'; readonly tables: readonly string[] };

/** What the catalog says of a relation that the stream named. */
export interface RelationFacts {
  /** Whether the catalog still has it and the publication has it by itself or through an ancestor. */
  readonly published: boolean;
  /** Names of the relation and all its ancestors, `schema.table`. */
  readonly lineage: readonly string[];
}

/**
 * Decides what a relation's rows mean. `facts` is undefined when the catalog has lost the relation. A relation that is
 * not published any more was a partition when its rows changed, and may have belonged to any partitioned table.
 */
export function targetOf(options: {
  rules: CompiledRules;
  relation: { readonly schema: string; readonly table: string; readonly columns: readonly RelationColumn[] };
  facts: RelationFacts | undefined;
  partitioned: readonly string[];
}): Target {
  const { rules, relation, facts, partitioned } = options;
  const names = new Set([`${relation.schema}.${relation.table}`, ...(facts?.lineage ?? [])]);
  const projections: Projection[] = [];
  for (const name of names) {
    const columns = rules.columns.get(name);
    if (columns !== undefined) projections.push(project(name, columns, relation.columns));
  }
  if (projections.length > 0) return { kind: 'projected', projections };
  if (facts?.published || partitioned.length === 0) return { kind: 'ignored' };
  return { kind: 'coarse', tables: partitioned };
}

function project(table: string, columns: readonly string[], relation: readonly RelationColumn[]): Projection {
  const places = relation.map(({ name }) => columns.indexOf(name));
  const identity = columns.map((column) => relation.some(({ name, identity: flagged }) => name === column && flagged));
  return {
    table,
    columns,
    places,
    unsentOld: identity.map((flagged) => (flagged ? Cell.same : Cell.absent)),
    outsideIdentity: identity.flatMap((flagged, place) => (flagged ? [] : [place])),
  };
}
