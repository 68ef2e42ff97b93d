import { parseKeyPattern, parseTemplate, WHOLE_KEY, type SqlLoaderConfig, type Template } from '@tidemark/proto';
import { fill } from './origin.ts';
import {
  columnsOf,
  contentTypeOf,
  describing,
  isAsPrinted,
  isBytes,
  reading,
  typing,
  type SqlShape,
} from './sql-shape.ts';
import { SqlError, type SqlConnection, type SqlRows, type SqlStatement } from './sql.ts';
import { tagsOf } from './value-tags.ts';

/** A value as a statement finds it. */
export type SqlFound =
  | {
      readonly kind: 'value';
      readonly body: Uint8Array;
      readonly contentType: string;
      readonly tags: readonly string[];
    }
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed'; readonly why: 'error' | 'too-large'; readonly detail: string };

/** What a read needs of a loader's configuration. */
export type SqlReadConfig = Pick<SqlLoaderConfig, 'key' | 'sql' | 'params' | 'rows' | 'contentType' | 'tags'>;

type BytesOf = (text: string, encoding: 'hex' | 'utf8') => Uint8Array;

/** Room for the tags of many rows, beside their values. */
const TAG_ROOM_BYTES = 256 * 1024;

/** Reads the value of a key by a statement of the configuration, inside of whatever transaction a connection is in. */
export class SqlRead {
  readonly #config: SqlReadConfig;
  readonly #maxBytes: number;
  readonly #bytesOf: BytesOf;
  readonly #params: readonly Template[];
  readonly #tags: readonly Template[];
  readonly #tagColumns: readonly string[];
  #shape: SqlShape | undefined;
  /** Of the parameters (OIDs). */
  #types: readonly number[] = [];
  #isDoubted = false;

  /** @param options.maxBytes of a value */
  constructor(options: { config: SqlReadConfig; maxBytes: number; bytesOf: BytesOf }) {
    const { config } = options;
    this.#bytesOf = options.bytesOf;
    this.#config = config;
    this.#maxBytes = options.maxBytes;
    this.#params = config.params.map(parseTemplate);
    this.#tags = config.tags.map(parseTemplate);
    this.#tagColumns = columnsOf(this.#tags, [WHOLE_KEY, ...parseKeyPattern(config.key).names]);
  }

  /** Parts of a key, by their names; undefined for a key of another shape. */
  parts(key: string): ReadonlyMap<string, string> | undefined {
    return parseKeyPattern(this.#config.key).match(key);
  }

  /** Asks Postgres what the statement answers, unless that is known; outside of a transaction that must not fail. */
  async describe(connection: SqlConnection): Promise<void> {
    if (this.isDescribed) return;
    const { sql } = this.#config;
    const values = this.#params.map(() => null);
    const [{ columns }, types] = await Promise.all([
      connection.send({ text: describing(sql), values }),
      values.length === 0 ? undefined : connection.send({ text: typing(sql, values.length), values }),
    ]);
    const [first, ...others] = columns;
    if (first === undefined) throw new SqlError('error', 'found a statement without columns', { sent: true });
    this.#shape = others.length === 0 ? { kind: 'column', type: first.type } : { kind: 'columns' };
    this.#types = types?.rows[0]?.map(Number) ?? [];
    this.#isDoubted = false;
  }

  /** Whether it is known what the statement answers. */
  get isDescribed(): boolean {
    return this.#shape !== undefined && !this.#isDoubted;
  }

  /** The statement answers something else than it did: a table of it was altered. */
  forget(): void {
    // Other reads are under way by what was known.
    this.#isDoubted = true;
  }

  /** To be sent once it was described. */
  statement(parts: ReadonlyMap<string, string>): SqlStatement {
    const options = { shape: this.#known(), tagColumns: this.#tagColumns, maxBytes: this.#maxBytes };
    return {
      text: reading(this.#config, options),
      values: this.#params.map((template) => fill(template, parts)),
      maxBytes: 2 * this.#maxBytes + TAG_ROOM_BYTES,
    };
  }

  /** What the statement's answer means. Where that is not what was described, it fails, and is to be described anew. */
  found({ rows, columns: described }: SqlRows, parts: ReadonlyMap<string, string>): SqlFound {
    const shape = this.#known();
    if (shape.kind === 'column' && described.at(-1)?.type !== shape.type) {
      this.forget();
      return { kind: 'failed', why: 'error', detail: 'found a column of another type than a moment ago' };
    }
    const { rows: count, contentType = contentTypeOf(shape, count) } = this.#config;
    if (count === 'one' && rows.length > 1)
      return { kind: 'failed', why: 'error', detail: 'found two rows or more, expected one (or say rows: many)' };
    if (rows.some(([value, length]) => value === null && length !== null)) return this.#tooLarge();
    const [only] = rows;
    // The row that was found has another key.
    if (!this.#isAsPrinted(parts)) return { kind: 'absent' };
    // A NULL says no more than no row.
    if (count === 'one' && (only === undefined || only[0] === null)) return { kind: 'absent' };
    const texts = rows.map(([value]) => value ?? '');
    const text = count === 'many' ? `[${texts.join(',')}]` : (texts[0] ?? '');
    const body = this.#bytesOf(text, count === 'one' && isBytes(shape) ? 'hex' : 'utf8');
    if (body.length > this.#maxBytes) return this.#tooLarge();
    const columns = (row: readonly (string | null)[]) =>
      new Map([...parts, ...this.#tagColumns.map((name, i) => [name, row[i + 2] ?? ''] as const)]);
    const rendered = tagsOf(this.#tags, rows.length === 0 ? [parts] : rows.map(columns));
    if (!rendered.ok) return { kind: 'failed', why: 'error', detail: rendered.detail };
    return { kind: 'value', body, contentType, tags: rendered.tags };
  }

  #isAsPrinted(parts: ReadonlyMap<string, string>): boolean {
    return this.#params.every((template, i) => isAsPrinted(this.#types[i] ?? 0, fill(template, parts)));
  }

  #known(): SqlShape {
    if (this.#shape === undefined) throw new Error('a statement is read that was not described');
    return this.#shape;
  }

  #tooLarge(): SqlFound {
    return {
      kind: 'failed',
      why: 'too-large',
      detail: `the value is larger than ${this.#maxBytes} bytes (maxItemBytes)`,
    };
  }
}
