/** One answer of a server, read by the letter of RFC 9112. */
export interface Answer {
  readonly status: number;
  /** By lower-case name; of several the last. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly method: string;
}

/** What came back is no sequence of answers. */
export class Malformed extends Error {
  override name = 'Malformed';
}

const STATUS_LINE = /^HTTP\/1\.1 ([1-5]\d\d) ([\t\x20-\x7e]*)$/;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t\x20-\x7e\x80-\xff]*)$/;

/**
 * Reads answers to requests of these methods; interim answers (1xx) are passed over. Throws {@link Malformed}.
 *
 * @param isCut whether the connection may have ended within an answer, since its caller went away
 */
export function readAnswers(bytes: Buffer, methods: readonly string[], isCut: boolean): readonly Answer[] {
  const answers: Answer[] = [];
  let at = 0;
  while (at < bytes.length) {
    const method = methods[answers.length] ?? 'GET';
    const read = readAnswer(bytes, at, method);
    if (read === undefined) {
      if (isCut) break;
      throw new Malformed(`an answer is not whole: ${JSON.stringify(bytes.toString('latin1', at, at + 300))}`);
    }
    at = read.next;
    if (read.answer.status >= 200) answers.push(read.answer);
  }
  return answers;
}

function readAnswer(bytes: Buffer, at: number, method: string): { answer: Answer; next: number } | undefined {
  const end = bytes.indexOf('\r\n\r\n', at, 'latin1');
  if (end < 0) return undefined;
  const [first = '', ...lines] = bytes.toString('latin1', at, end).split('\r\n');
  const status = STATUS_LINE.exec(first)?.[1];
  if (status === undefined) throw new Malformed(`no status line: ${JSON.stringify(first.slice(0, 200))}`);
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const [, name, value] = FIELD.exec(line) ?? [];
    if (name === undefined || value === undefined) throw new Malformed(`no header: ${JSON.stringify(line)}`);
    headers[name.toLowerCase()] = value;
  }
  const framed = readBody(bytes, end + 4, { status: Number(status), headers, method });
  if (framed === undefined) return undefined;
  return { answer: { status: Number(status), headers, body: framed.body, method }, next: framed.next };
}

function readBody(
  bytes: Buffer,
  from: number,
  { status, headers, method }: { status: number; headers: Readonly<Record<string, string>>; method: string },
): { body: Buffer; next: number } | undefined {
  // Where the head of a request is not understood, nobody knows that it is one with HEAD.
  const isRefused = headers['connection'] === 'close' && [400, 408, 431].includes(status) && from < bytes.length;
  if (status < 200 || status === 204 || status === 304 || (method === 'HEAD' && !isRefused))
    return { body: Buffer.alloc(0), next: from };
  const { 'content-length': length, 'transfer-encoding': coding } = headers;
  if (coding === undefined && length === undefined) throw new Malformed(`an answer ${status} without a length`);
  if (coding !== undefined) return readChunks(bytes, from);
  const next = from + Number(length);
  return next > bytes.length ? undefined : { body: bytes.subarray(from, next), next };
}

function readChunks(bytes: Buffer, from: number): { body: Buffer; next: number } | undefined {
  const chunks: Buffer[] = [];
  let at = from;
  for (;;) {
    const end = bytes.indexOf('\r\n', at, 'latin1');
    if (end < 0) return undefined;
    const size = Number.parseInt(bytes.toString('latin1', at, end), 16);
    if (Number.isNaN(size)) throw new Malformed('a chunk without a size');
    at = end + 2 + size + 2;
    if (at > bytes.length) return undefined;
    if (size === 0) return { body: Buffer.concat(chunks), next: at };
    chunks.push(bytes.subarray(end + 2, end + 2 + size));
  }
}
