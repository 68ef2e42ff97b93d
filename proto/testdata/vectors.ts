// Golden vectors: what a version of Tidemark wrote, as JSON for people and as the bytes themselves. Every later version
// must read the bytes to the same meaning; the version that wrote them must still write them byte for byte.
import { readdirSync, readFileSync } from 'node:fs';
import { create, toBinary } from '@bufbuild/protobuf';
import { type Batch, type DecodedBatch, encodeBatch, WIRE_VERSION } from '../src/batch.ts';
import { encodeEntry, type Entry, ENVELOPE, type Packing } from '../src/envelope.ts';
import { BatchSchema } from '../src/gen/tidemark/v1/batch_pb.js';
import { seal } from '../src/seal.ts';
import { Cell, type CellValue, Op, readTableChanges, TableChangesBuilder } from '../src/table-changes.ts';
import type { Row } from '../src/template.ts';

export const testdata = new URL('./', import.meta.url);

/** Where this version's vectors lie. */
export const RECORDS = `record-v${WIRE_VERSION}`;
export const ENVELOPES = `envelope-v${ENVELOPE.version}`;

type JsonCell = string | null | { readonly cell: 'absent' | 'unchanged' | 'same' | 'unknown' };

interface JsonChange {
  readonly op: keyof typeof Op;
  readonly commit: number;
  readonly before?: readonly JsonCell[];
  readonly after?: readonly JsonCell[];
}

interface JsonTable {
  readonly schema: string;
  readonly table: string;
  readonly columns: readonly string[];
  /** What the writer was told. */
  readonly changes: readonly JsonChange[];
  /** What a reader makes of it. */
  readonly reads: readonly JsonChange[];
}

type JsonBatch = Omit<Batch, 'systemId' | 'covers' | 'catalog' | 'tables'> & {
  readonly systemId: string;
  /** Hex. */
  readonly covers: readonly string[];
  /** Hex. */
  readonly catalog?: readonly string[];
  readonly tables: readonly JsonTable[];
};

/** A record that today's writer makes, or one of another writer, given by its fields. */
export type RecordVector =
  | { readonly about: string; readonly batch: JsonBatch }
  | {
      readonly about: string;
      readonly fields: { version: number; minReader: number; epoch: number; from: number; to: number; visible: number };
      /** Hex of fields that this version does not know. */
      readonly unknown: string;
      readonly reads: 'too-new' | 'batch';
    };

export interface EntryVector {
  readonly about: string;
  /** The body as base64. */
  readonly entry: Omit<Entry, 'body'> & { readonly body: string };
  /** What the body is, where it is not the value itself. */
  readonly packing?: Packing;
}

export interface Names {
  readonly rules: readonly {
    name: string;
    source: string;
    rules: { table: string; keys: string[]; tags: string[] }[];
    hash: string;
  }[];
  readonly hash32: readonly { seed: number; text: string; hash: number }[];
  readonly buckets: readonly { buckets: number; hashHex: string; key: string; bucket: number }[];
  readonly keys: {
    source: string;
    bucket: number;
    hashHex: string;
    generation: string;
    key: string;
    names: Record<string, string>;
  };
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(path, testdata), 'utf8')) as T;
}

export function readBytes(path: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(path, testdata)));
}

/** Names of the vectors of a folder, without their extension. */
export function vectorsIn(folder: string): string[] {
  const files = readdirSync(new URL(folder, testdata)).filter((file) => file.endsWith('.json'));
  return files.map((file) => `${folder}/${file.slice(0, -'.json'.length)}`);
}

/** Folders of every version of a kind, such as `record-v1`. */
export function versionsOf(kind: 'record' | 'envelope'): string[] {
  return readdirSync(testdata).filter((folder) => folder.startsWith(`${kind}-v`));
}

export function writeRecord(vector: RecordVector): Uint8Array {
  if ('batch' in vector) return encodeBatch(batchOf(vector.batch));
  const { version, minReader, epoch, from, to, visible } = vector.fields;
  const init = {
    version,
    minReader,
    source: 'main',
    epoch: BigInt(epoch),
    from: BigInt(from),
    to: BigInt(to),
    visible: BigInt(visible),
  };
  return seal(
    Uint8Array.of(...toBinary(BatchSchema, create(BatchSchema, init)), ...Buffer.from(vector.unknown, 'hex')),
  );
}

/** What decodeBatch must answer, as plain data; blocks are compared by {@link readBlocks}. */
export function meaningOf(vector: RecordVector): unknown {
  if ('batch' in vector)
    return { kind: 'batch', batch: { ...batchOf(vector.batch), tables: vector.batch.tables.length } };
  const { epoch, from, to, visible, minReader } = vector.fields;
  // What readers of its own version could not read may be for ours.
  if (vector.reads === 'too-new' && minReader > WIRE_VERSION)
    return { kind: 'too-new', span: { epoch, from, to }, visible, minReader };
  const nothing = {
    committedAtUs: 0,
    publishedAtUs: 0,
    systemId: 0n,
    timeline: 0,
    heartbeat: false,
    covers: [],
    commits: [],
    purges: [],
  };
  return { kind: 'batch', batch: { ...nothing, epoch, from, to, visible, source: 'main', tables: 0 } };
}

/** The same of what was decoded. */
export function plain(decoded: DecodedBatch): unknown {
  if (decoded.kind === 'too-new') return decoded;
  const marks = decoded.batch.marks?.map(({ commit, text }) => ({ commit, text }));
  return {
    kind: 'batch',
    batch: { ...decoded.batch, ...(marks && { marks }), tables: decoded.batch.tables.length },
  };
}

/** The changes of each table of a record, in the form of {@link JsonTable.reads}. */
export function readBlocks(decoded: DecodedBatch): unknown[] {
  if (decoded.kind === 'too-new') return [];
  return decoded.batch.tables.map(({ schema, table, changes }) => {
    const reader = readTableChanges(changes);
    const reads: JsonChange[] = [];
    const names = Object.keys(Op) as (keyof typeof Op)[];
    const json = (row: Row): JsonCell[] => row.map((cell) => (cell === undefined ? { cell: 'unknown' } : cell));
    reader.forEach((op, commit, before, after) => {
      const name = names.find((one) => Op[one] === op) as keyof typeof Op;
      reads.push({ op: name, commit, ...(before && { before: json(before) }), ...(after && { after: json(after) }) });
    });
    return { schema, table, columns: reader.columns, reads };
  });
}

export function writeEntry({ entry, packing }: EntryVector): Uint8Array {
  return encodeEntry(entryOf(entry), packing);
}

export function entryOf(entry: EntryVector['entry']): Entry {
  return { ...entry, body: new Uint8Array(Buffer.from(entry.body, 'base64')) };
}

function batchOf({ catalog, ...json }: JsonBatch): Batch {
  return {
    ...json,
    ...(catalog !== undefined && { catalog: catalog.map((hex) => BigInt(`0x${hex}`)) }),
    systemId: BigInt(json.systemId),
    covers: json.covers.map((hex) => BigInt(`0x${hex}`)),
    tables: json.tables.map(({ schema, table, columns, changes }) => {
      const builder = new TableChangesBuilder(columns);
      for (const { op, commit, before, after } of changes) {
        builder.add({
          op: Op[op],
          commit,
          ...(before && { before: before.map(cellOf) }),
          ...(after && { after: after.map(cellOf) }),
        });
      }
      return { schema, table, changes: builder.encode() };
    }),
  };
}

function cellOf(json: JsonCell): CellValue {
  if (typeof json === 'string' || json === null) return json;
  if (json.cell === 'unknown') throw new Error('no writer writes "unknown"');
  return Cell[json.cell];
}
