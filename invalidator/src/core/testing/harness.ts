import { compileRules, decodeBatch, encodeBatch, invalidate, type Batch } from '@tidemark/proto';
import { Assembler, type Assembled } from '../assembler.ts';
import { DEFAULT_BOUNDS, type ChangeBounds } from '../bounds.ts';
import { Outbox, type DueRecord } from '../outbox.ts';
import { targetOf } from '../relations.ts';
import * as wire from './wire.ts';
import type { WireCell } from './wire.ts';

/** Two namespaces: `users` by id and team, of which only the id is in old rows; `events` by id. */
export const rules = compileRules([
  { name: 'users', source: 'main', rules: [{ table: 'public.users', keys: ['{id}'], tags: ['team:{team}'] }] },
  { name: 'events', source: 'main', rules: [{ table: 'public.events', keys: ['{id}'], tags: [] }] },
]);

/** Oids of relations; the last has no rule. */
export const USERS = 1;
export const EVENTS = 2;
export const ELSEWHERE = 3;

const columns = [
  { name: 'note', identity: false },
  { name: 'id', identity: true },
  { name: 'team', identity: false },
];
const relations = [
  { oid: USERS, schema: 'public', table: 'users', columns },
  { oid: EVENTS, schema: 'public', table: 'events', columns: columns.slice(1, 2) },
  { oid: ELSEWHERE, schema: 'public', table: 'elsewhere', columns },
];

export const t = (text: string): WireCell => ({ text });
/** A row of {@link USERS}. */
export const user = (id: string, team = 'a'): WireCell[] => [t('-'), t(id), t(team)];

/** An assembler that knows the relations, fed with whole transactions. */
export class Harness {
  readonly assembler: Assembler;
  unreadablePurges = 0;
  #at = 0;

  constructor(bounds: ChangeBounds = DEFAULT_BOUNDS) {
    this.assembler = new Assembler({
      rules,
      bounds,
      onUnreadablePurge: () => {
        this.unreadablePurges += 1;
      },
    });
    for (const relation of relations) {
      const asked = this.assembler.accept(wire.relation(relation));
      if (asked.kind !== 'relation') throw new Error(asked.kind);
      const facts = { published: true, lineage: [] };
      this.assembler.define(relation.oid, targetOf({ rules, relation: asked.relation, facts, partitioned: [] }));
    }
  }

  /** Commit position of the newest transaction. */
  get commit(): number {
    return this.#at + 8;
  }

  /** Feeds one transaction. Each takes ten bytes of WAL, of which its commit record takes the first eight: 10 to 18. */
  transaction(...messages: readonly Buffer[]): Assembled {
    this.#at += 10;
    this.assembler.accept(wire.begin({ finalLsn: this.#at, atUs: 1000, xid: this.#at }));
    for (const message of messages) {
      const { kind } = this.assembler.accept(message);
      if (kind !== 'nothing') throw new Error(kind);
    }
    return this.assembler.accept(wire.commit({ start: this.#at, end: this.commit, atUs: 1000 }));
  }
}

/** An outbox that has taken these in. */
export function outboxOf(events: readonly Assembled[], bounds: ChangeBounds = DEFAULT_BOUNDS): Outbox {
  const outbox = new Outbox({ bounds, maxPending: 2, from: 0 });
  for (const event of events) put(outbox, event);
  return outbox;
}

export function put(outbox: Outbox, event: Assembled): void {
  if (event.kind === 'committed') outbox.add(event.committed);
  else if (event.kind === 'passed') outbox.advance(event.lsn);
}

/** What a reader of the record would get. */
export function batchOf({ rows: _rows, collapses: _collapses, ...record }: DueRecord): Batch {
  const identity = { source: 'main', epoch: 1, systemId: 1n, timeline: 1 };
  const rest = { visible: record.from, covers: [], publishedAtUs: 0, heartbeat: false };
  const decoded = decodeBatch(encodeBatch({ ...identity, ...record, ...rest }));
  if (decoded.kind !== 'batch') throw new Error(decoded.kind);
  return decoded.batch;
}

/** What a record evicts, as `namespace key@position`, `namespace #tag@position`, `namespace prefix…@position` or `namespace *@position`. */
export function evictions(batch: Batch): string[] {
  const found: string[] = [];
  invalidate(rules, batch, {
    key: ({ name }, key, lsn) => found.push(`${name} ${key}@${lsn}`),
    tag: ({ name }, tag, lsn) => found.push(`${name} #${tag}@${lsn}`),
    prefix: ({ name }, prefix, lsn) => found.push(`${name} ${prefix}…@${lsn}`),
    namespace: ({ name }, lsn) => found.push(`${name} *@${lsn}`),
  });
  return found;
}

/** What the record of these evicts. */
export function evicted(...events: readonly Assembled[]): string[] {
  return evictions(batchOf(outboxOf(events).take()));
}
