import { formatLsn, Op, type Lsn, type NamespaceRules } from '@tidemark/proto';
import type { Fall, Origin, ReplayOutput } from './engine.ts';

const OP_NAMES: Readonly<Record<Op, string>> = {
  [Op.insert]: 'insert',
  [Op.update]: 'update',
  [Op.delete]: 'delete',
  [Op.wholeTable]: 'whole-table',
};

/** Called with one line, its newline included, for each invalidation. */
export type TakeLine = (line: string) => void;

/** Writes each invalidation as one line of JSON. */
export class NdjsonOutput implements ReplayOutput {
  readonly #take: TakeLine;
  #lsn: Lsn = -1;
  #lsnText = '';
  #committedAtUs = -1;
  #committedText = '';
  #table = '';
  #tableText = 'null';

  constructor(take: TakeLine) {
    this.#take = take;
  }

  key(namespace: NamespaceRules, key: string, lsn: Lsn, origin: Origin): void {
    this.#line(namespace, `"key","name":${JSON.stringify(key)}`, lsn, origin);
  }

  tag(namespace: NamespaceRules, tag: string, lsn: Lsn, origin: Origin): void {
    this.#line(namespace, `"tag","name":${JSON.stringify(tag)}`, lsn, origin);
  }

  prefix(namespace: NamespaceRules, prefix: string, lsn: Lsn, origin: Origin): void {
    this.#line(namespace, `"prefix","name":${JSON.stringify(prefix)}`, lsn, origin);
  }

  namespace(namespace: NamespaceRules, lsn: Lsn, falls: readonly Fall[], origin: Origin): void {
    const why = falls.map(({ cause, columns }) => (columns.length === 0 ? { cause } : { cause, columns }));
    this.#line(namespace, `"namespace","name":null,"why":${JSON.stringify(why)}`, lsn, origin);
  }

  #line({ name }: NamespaceRules, what: string, lsn: Lsn, { epoch, committedAtUs, table, op }: Origin): void {
    // Positions, times and tables come in runs.
    if (lsn !== this.#lsn) {
      this.#lsn = lsn;
      this.#lsnText = formatLsn(lsn);
    }
    if (committedAtUs !== this.#committedAtUs) {
      this.#committedAtUs = committedAtUs;
      this.#committedText = committedAtUs === 0 ? 'null' : `"${new Date(committedAtUs / 1000).toISOString()}"`;
    }
    if (table !== this.#table) {
      this.#table = table;
      this.#tableText = table === '' ? 'null' : JSON.stringify(table);
    }
    const opText =
      op !== undefined ? `"${OP_NAMES[op]}"` : table === '' && !what.includes('"why"') ? '"purge"' : 'null';
    // The name of a namespace needs no quoting: its grammar allows a-z, 0-9, ".", "_" and "-".
    this.#take(
      `{"epoch":${epoch},"lsn":"${this.#lsnText}","committedAt":${this.#committedText},"namespace":"${name}","kind":${what},"table":${this.#tableText},"op":${opText}}\n`,
    );
  }
}
