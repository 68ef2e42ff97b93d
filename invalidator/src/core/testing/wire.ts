/** Encoder of pgoutput messages, for tests of what decodes them. */

/** A column of a tuple: text, null, 'unchanged' TOAST. */
export type WireCell = { readonly text: string } | { readonly raw: Buffer } | 'null' | 'unchanged';

/** Microseconds from 1970 to 2000. */
const POSTGRES_EPOCH_US = 946_684_800_000_000;

export function begin(options: { finalLsn: number; atUs: number; xid: number }): Buffer {
  return Buffer.concat([
    Buffer.from('B'),
    i64(options.finalLsn),
    i64(options.atUs - POSTGRES_EPOCH_US),
    i32(options.xid),
  ]);
}

export function commit(options: { start: number; end: number; atUs: number }): Buffer {
  return Buffer.concat([
    Buffer.from('C'),
    Buffer.of(0),
    i64(options.start),
    i64(options.end),
    i64(options.atUs - POSTGRES_EPOCH_US),
  ]);
}

export function relation(options: {
  oid: number;
  schema: string;
  table: string;
  columns: readonly { name: string; identity: boolean }[];
}): Buffer {
  const { oid, schema, table, columns } = options;
  const parts = columns.flatMap(({ name, identity }) => [
    Buffer.of(identity ? 1 : 0),
    cstring(name),
    i32(25),
    i32(0xffffffff),
  ]);
  return Buffer.concat([
    Buffer.from('R'),
    i32(oid),
    cstring(schema),
    cstring(table),
    Buffer.from('d'),
    i16(columns.length),
    ...parts,
  ]);
}

export function insert(oid: number, row: readonly WireCell[]): Buffer {
  return Buffer.concat([Buffer.from('I'), i32(oid), Buffer.from('N'), tuple(row)]);
}

export function update(
  oid: number,
  row: readonly WireCell[],
  old?: { kind: 'K' | 'O'; row: readonly WireCell[] },
): Buffer {
  const before = old === undefined ? [] : [Buffer.from(old.kind), tuple(old.row)];
  return Buffer.concat([Buffer.from('U'), i32(oid), ...before, Buffer.from('N'), tuple(row)]);
}

export function remove(oid: number, old: { kind: 'K' | 'O'; row: readonly WireCell[] }): Buffer {
  return Buffer.concat([Buffer.from('D'), i32(oid), Buffer.from(old.kind), tuple(old.row)]);
}

export function truncate(oids: readonly number[], options = 0): Buffer {
  return Buffer.concat([Buffer.from('T'), i32(oids.length), Buffer.of(options), ...oids.map(i32)]);
}

export function message(options: {
  transactional: boolean;
  lsn: number;
  prefix: string;
  content: string | Buffer;
}): Buffer {
  const content = Buffer.from(options.content);
  return Buffer.concat([
    Buffer.from('M'),
    Buffer.of(options.transactional ? 1 : 0),
    i64(options.lsn),
    cstring(options.prefix),
    i32(content.length),
    content,
  ]);
}

function tuple(row: readonly WireCell[]): Buffer {
  const cells = row.map((cell) => {
    if (cell === 'null') return Buffer.from('n');
    if (cell === 'unchanged') return Buffer.from('u');
    const bytes = 'raw' in cell ? cell.raw : Buffer.from(cell.text);
    return Buffer.concat([Buffer.from('t'), i32(bytes.length), bytes]);
  });
  return Buffer.concat([i16(row.length), ...cells]);
}

function cstring(text: string): Buffer {
  return Buffer.concat([Buffer.from(text), Buffer.of(0)]);
}

function i16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function i32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function i64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
}
