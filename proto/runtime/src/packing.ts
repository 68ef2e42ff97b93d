import {
  decodeChunkList,
  encodeChunkList,
  encodeEntry,
  joinChunks,
  splitBody,
  type Entry,
  type Packing,
  type Stored,
} from '@tidemark/proto';
import { compress, decompress } from './zstd.ts';

/** How a namespace's entries are laid down for others. */
export interface PackingSettings {
  /** Values of more bytes are compressed; Infinity: none. */
  readonly compressOverBytes: number;
  /** What is larger after that is stored in chunks of so many bytes; Infinity: nothing. */
  readonly chunkBytes: number;
  /** What claims to hold a larger value is not unpacked. */
  readonly maxItemBytes: number;
}

/** An entry as it is to be stored: an envelope, and the chunks that it names, to be stored before it. */
export interface PackedEntry {
  readonly envelope: Uint8Array;
  readonly chunks: readonly Uint8Array[];
  /** Of the chunks, '' where there are none. */
  readonly token: string;
}

/** What packing did, for metrics. */
export class PackingCounters {
  /** Values, and their bytes before and after. */
  values = 0;
  valueBytes = 0;
  storedBytes = 0;
  /** `larger`: it would have saved less than an eighth. `busy`: too many were being compressed. */
  readonly compressions = { smaller: 0, larger: 0, busy: 0 };
  readonly chunks = { written: 0, read: 0, missing: 0, removed: 0 };
}

/** A frame must be smaller than the value by this part of it, or the time to unpack it is not worth while. */
const LEAST_SAVED = 1 / 8;

/** Makes of entries what is stored in a cache that others read too, and the other way round. */
export class Packer {
  readonly counters = new PackingCounters();
  readonly #token: () => string;

  /** @param token 16 characters of base64url that nobody else has ever got */
  constructor(token: () => string) {
    this.#token = token;
  }

  /** Throws as encodeEntry does. */
  async pack(entry: Entry, settings: PackingSettings): Promise<PackedEntry> {
    const { counters } = this;
    const value = entry.body;
    const frame = value.length > settings.compressOverBytes ? await this.#compress(value) : undefined;
    const body = frame ?? value;
    counters.values += 1;
    counters.valueBytes += value.length;
    counters.storedBytes += body.length;
    const packing = { zstd: frame !== undefined, chunks: 0, bodyBytes: value.length };
    if (body.length <= settings.chunkBytes)
      return { envelope: encodeEntry({ ...entry, body }, packing), chunks: [], token: '' };
    const chunks = splitBody(body, settings.chunkBytes);
    const token = this.#token();
    const list = encodeChunkList(token, chunks);
    counters.chunks.written += chunks.length;
    return { envelope: encodeEntry({ ...entry, body: list }, { ...packing, chunks: chunks.length }), chunks, token };
  }

  /**
   * The entry that an envelope stands for, its body with memory of its own, or undefined where it cannot be had: too large, a chunk
   * that is missing or not its own, a frame that is damaged.
   *
   * @param fetch asks for the chunks of a token, by number from 0
   */
  async unpack(
    { entry, packing }: Stored,
    settings: PackingSettings,
    fetch: (token: string, count: number) => Promise<readonly (Uint8Array | null | undefined)[]>,
  ): Promise<Entry | undefined> {
    const { zstd, chunks, bodyBytes } = packing;
    if (!zstd && chunks === 0) return withOwnBody(entry);
    if (bodyBytes > settings.maxItemBytes) return undefined;
    const body = chunks === 0 ? entry.body : await this.#join(entry.body, packing, fetch);
    if (body === undefined) return undefined;
    if (!zstd) return body.length === bodyBytes ? { ...entry, body } : undefined;
    const value = await decompress(body, bodyBytes);
    return value && withOwnBody({ ...entry, body: value });
  }

  async #compress(value: Uint8Array): Promise<Uint8Array | undefined> {
    const { compressions } = this.counters;
    const frame = await compress(value);
    const result =
      frame === undefined ? 'busy' : frame.length > value.length * (1 - LEAST_SAVED) ? 'larger' : 'smaller';
    compressions[result] += 1;
    return result === 'smaller' ? frame : undefined;
  }

  async #join(
    body: Uint8Array,
    { chunks, bodyBytes }: Packing,
    fetch: (token: string, count: number) => Promise<readonly (Uint8Array | null | undefined)[]>,
  ): Promise<Uint8Array | undefined> {
    const list = decodeChunkList(body, chunks);
    if (list === undefined) return undefined;
    const found = await fetch(list.token, chunks);
    // A frame is stored only where it is smaller than its value.
    const joined = joinChunks(list, found, bodyBytes);
    this.counters.chunks[joined === undefined ? 'missing' : 'read'] += chunks;
    return joined;
  }
}

/** The same with memory of its own: what a client read, or zlib wrote, may be a small part of a large buffer. */
export function withOwnBody(entry: Entry): Entry {
  const { body } = entry;
  if (body.buffer.byteLength === body.length) return entry;
  const copy = Buffer.allocUnsafeSlow(body.length);
  copy.set(body);
  return { ...entry, body: copy };
}
