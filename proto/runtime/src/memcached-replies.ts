/**
 * What memcached said to one command; `failed`: an error that leaves the connection in step. `too-large`: a value of so many bytes, that
 * was passed over.
 */
export type MemcachedReply =
  | { readonly kind: 'line'; readonly text: string }
  | { readonly kind: 'value'; readonly key: string; readonly cas: string; readonly value: Buffer }
  | { readonly kind: 'too-large'; readonly key: string; readonly bytes: number }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'failed'; readonly message: string };

/** The bytes are no reply, or none after which it is known where the next one begins: the connection is of no use any more. */
export class MemcachedProtocolError extends Error {
  override name = 'MemcachedProtocolError';
}

/** The longest line of a reply: `VALUE`, a key of at most 250 bytes and three numbers; errors are shorter. */
const MAX_LINE_BYTES = 1024;
const NEWLINE = 10;
const RETURN = 13;

interface Value {
  readonly key: string;
  readonly cas: string;
  /** With the line break after it. */
  readonly length: number;
  /** Undefined for one that is too large to be kept. */
  readonly bytes: Buffer | undefined;
  filled: number;
}

/**
 * Cuts what a server sends into replies: those of `gets` for one key, and those of one line (`add`, `cas`, `set`, `delete`,
 * `version`), as doc/protocol.txt of memcached has them. Memory is bounded by the longest value that is expected.
 */
export class MemcachedReplies {
  readonly #maxValueBytes: number;
  readonly #onReply: (reply: MemcachedReply) => void;
  #line: Buffer = Buffer.alloc(0);
  /** A value that is being received, then one that waits for its `END`. */
  #receiving: Value | undefined;
  #received: Value | undefined;

  constructor(options: { readonly maxValueBytes: number; readonly onReply: (reply: MemcachedReply) => void }) {
    this.#maxValueBytes = options.maxValueBytes;
    this.#onReply = options.onReply;
  }

  /** Throws {@link MemcachedProtocolError}; nothing may be pushed after that. O(bytes). */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length)
      at = this.#receiving === undefined ? this.#readLine(chunk, at) : this.#readValue(chunk, at);
  }

  #readLine(chunk: Buffer, from: number): number {
    const end = chunk.indexOf(NEWLINE, from);
    const part = chunk.subarray(from, end < 0 ? chunk.length : end);
    if (this.#line.length + part.length > MAX_LINE_BYTES) {
      throw new MemcachedProtocolError(`expected a line of at most ${MAX_LINE_BYTES} bytes from memcached`);
    }
    const line = this.#line.length === 0 ? part : Buffer.concat([this.#line, part]);
    if (end < 0) {
      // A copy: the chunk's memory may be much larger than what is left of it.
      this.#line = Buffer.from(line);
      return chunk.length;
    }
    this.#line = Buffer.alloc(0);
    if (line.at(-1) !== RETURN) throw new MemcachedProtocolError('expected CRLF at the end of a line from memcached');
    this.#take(line.toString('latin1', 0, line.length - 1));
    return end + 1;
  }

  #readValue(chunk: Buffer, from: number): number {
    const value = this.#receiving as Value;
    const { bytes, length, filled } = value;
    const copied = Math.min(length - filled, chunk.length - from);
    bytes?.set(chunk.subarray(from, from + copied), filled);
    value.filled += copied;
    if (value.filled < length) return from + copied;
    if (bytes !== undefined && (bytes.at(-2) !== RETURN || bytes.at(-1) !== NEWLINE)) {
      throw new MemcachedProtocolError('expected CRLF after a value from memcached');
    }
    this.#receiving = undefined;
    this.#received = value;
    return from + copied;
  }

  #take(line: string): void {
    const value = this.#received;
    if (line === 'END') {
      this.#received = undefined;
      this.#onReply(value === undefined ? { kind: 'nothing' } : replyOf(value));
      return;
    }
    if (value !== undefined) throw new MemcachedProtocolError(`expected END after a value, found ${told(line)}`);
    if (line.startsWith('VALUE ')) this.#receiving = this.#begin(line);
    else if (line.startsWith('SERVER_ERROR')) this.#onReply({ kind: 'failed', message: told(line) });
    else if (line === 'ERROR' || line.startsWith('CLIENT_ERROR')) {
      // What it did with the rest of the command is not known.
      throw new MemcachedProtocolError(`memcached did not understand a command: ${told(line)}`);
    } else this.#onReply({ kind: 'line', text: line });
  }

  #begin(line: string): Value {
    const match = /^VALUE ([\x21-\x7e]{1,250}) \d{1,10} (\d{1,10}) (\d{1,20})$/.exec(line);
    if (match === null) throw new MemcachedProtocolError(`expected a value with a CAS, found ${told(line)}`);
    const length = Number(match[2]) + 2;
    // Memory of its own: the caller keeps the value as long as it likes. What is larger was stored by somebody with other settings.
    const bytes = length - 2 > this.#maxValueBytes ? undefined : Buffer.allocUnsafeSlow(length);
    return { key: match[1] as string, cas: match[3] as string, length, bytes, filled: 0 };
  }
}

function replyOf({ key, cas, length, bytes }: Value): MemcachedReply {
  if (bytes === undefined) return { kind: 'too-large', key, bytes: length - 2 };
  return { kind: 'value', key, cas, value: bytes.subarray(0, -2) };
}

/** Keys are digests and of no use to a reader of logs; control characters may be anything. */
function told(line: string): string {
  return JSON.stringify(line.slice(0, 100));
}
