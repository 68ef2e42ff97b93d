import type { SqlLoaderConfig, Template } from '@tidemark/proto';

/** What a statement answers, as Postgres described it. */
export type SqlShape =
  /** One column of this type (an OID), which is the value itself. */
  { readonly kind: 'column'; readonly type: number } | { readonly kind: 'columns' };

/** OIDs of types that are no plain text, or have values of several texts (postgresql.org/docs/current/catalog-pg-type.html); they never change. */
const TYPES = { bytea: 17, int8: 20, int2: 21, int4: 23, oid: 26, json: 114, uuid: 2950, jsonb: 3802 } as const;
const INTEGERS: ReadonlySet<number> = new Set([TYPES.int2, TYPES.int4, TYPES.int8, TYPES.oid]);
const INTEGER = /^(?:0|-?[1-9]\d*)$/;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const TEXT = 'text/plain; charset=utf-8';
const JSON_TYPE = 'application/json';
const BYTES = 'application/octet-stream';

/** Whether the value comes as hexadecimal digits. */
export function isBytes(shape: SqlShape): boolean {
  return shape.kind === 'column' && shape.type === TYPES.bytea;
}

/** Of a value of this shape. */
export function contentTypeOf(shape: SqlShape, rows: SqlLoaderConfig['rows']): string {
  if (rows === 'many' || shape.kind === 'columns') return JSON_TYPE;
  if (shape.type === TYPES.json || shape.type === TYPES.jsonb) return JSON_TYPE;
  return shape.type === TYPES.bytea ? BYTES : TEXT;
}

/** Names a row of the statement; a column of the same name would be taken for it. */
const ROW = '_tidemark_row';

/** Describes a statement without running it: its columns are those of the answer. */
export function describing(sql: string): string {
  return `select * from (\n${sql}\n) t limit 0`;
}

/**
 * The OIDs of the types that a statement's parameters have there, without running it. What is in FROM is read first (parse analysis of
 * SELECT), so the statement decides and not what asks.
 *
 * @param params how many there are, at least 1
 */
export function typing(sql: string, params: number): string {
  const types = Array.from({ length: params }, (_, i) => `pg_typeof($${i + 1})::oid`);
  return `select ${types.join(', ')} from (values (1)) one left join (select from (\n${sql}\n) t limit 0) none on true`;
}

/**
 * Whether Postgres prints a parameter's value as it was given. It reads `01`, `+1` and ` 1` as the number 1, and several texts as one uuid, but a
 * change of the row invalidates the key in which it stands as Postgres prints it (SPEC I8): what lies under another spelling would stay.
 */
export function isAsPrinted(type: number, text: string): boolean {
  if (type === TYPES.uuid) return UUID.test(text);
  return !INTEGERS.has(type) || INTEGER.test(text);
}

/**
 * The statement that answers the values. Its columns: the value (null if it is too large), the length of its text (null where the value
 * is NULL), the text of each column that the tags name, and for a value of one column a NULL of its type.
 *
 * Postgres makes the text and the JSON itself, because JavaScript's numbers would damage bigint and numeric. It also finds out
 * whether the statement still has the shape that it is taken to have: `(select row.*)` is refused for more than one column, and the names
 * for two where there is only one; both while it is parsed, at no cost for a row. A column that has another type than before is told by the
 * type of that NULL; a plan that was kept cannot change it, so the text names the type. `offset 0` keeps the text from being made twice.
 *
 * @param options.tagColumns as the catalog spells them
 * @param options.maxBytes of one value; of one row, where there are many
 */
export function reading(
  config: Pick<SqlLoaderConfig, 'sql' | 'rows'>,
  options: { readonly shape: SqlShape; readonly tagColumns: readonly string[]; readonly maxBytes: number },
): string {
  const { sql, rows } = config;
  const { shape, tagColumns, maxBytes } = options;
  // Digits stand for bytes.
  const mostChars = isBytes(shape) && rows === 'one' ? 2 * maxBytes : maxBytes;
  const tags = tagColumns.map((column, i) => `, ${ROW}.${quoted(column)}::text as tag_${i}`).join('');
  const names = tagColumns.map((_, i) => `, x.tag_${i}`).join('');
  const isColumn = shape.kind === 'column';
  const type = isColumn ? `, case when false then (select ${ROW}.*) end as of_type /* ${shape.type} */` : '';
  const check = !isColumn ? ` cross join lateral (select ${ROW}.*) c(one, two)` : '';
  // Only two rows are needed to tell that there is more than one.
  const most = rows === 'one' ? ' limit 2' : '';
  return `select case when octet_length(x.v) <= ${mostChars} then x.v end, octet_length(x.v)${names}${isColumn ? ', x.of_type' : ''}
    from (select ${valueOf(shape, rows)} as v${tags}${type} from (\n${sql}\n) ${ROW}${check}${most} offset 0) x`;
}

function valueOf(shape: SqlShape, rows: SqlLoaderConfig['rows']): string {
  if (shape.kind === 'columns') return `row_to_json(${ROW})::text`;
  if (rows === 'many') return `coalesce(to_json((select ${ROW}.*))::text, 'null')`;
  return shape.type === TYPES.bytea ? `encode((select ${ROW}.*), 'hex')` : `(select ${ROW}.*)::text`;
}

function quoted(column: string): string {
  return `"${column.replaceAll('"', '""')}"`;
}

/** Columns that templates name besides the parts of a key. */
export function columnsOf(templates: readonly Template[], parts: readonly string[]): readonly string[] {
  const names = templates.flatMap(({ columns }) => columns);
  return [...new Set(names)].filter((name) => !parts.includes(name) && !name.startsWith('header.'));
}
