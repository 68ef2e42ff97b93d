import type { Agent, IncomingMessage } from 'node:http';
import {
  parseKeyPattern,
  parseTemplate,
  type KeyPattern,
  type Lsn,
  type WriteThroughConfig,
  type WriteThroughHttp,
} from '@tidemark/proto';
import { TimeLimit, type request } from '@tidemark/runtime';
import { fill } from '../core/origin.ts';
import type { Executed, Marked, WriteExecutor, WrittenValue } from '../core/write-through.ts';
import type { PutRequest, WriteFailure, WriteRequest } from '../core/writer.ts';
import { parseCacheControl } from '../http/cache-control.ts';
import { FieldError, parseContentType, parsePosition } from '../http/fields.ts';

const CONNECTIONS = 16;
/** Writes that are under way or wait for a connection. */
const MOST = 256;
/** An idle connection is given up sooner than servers do (Node's own after 5 s), or a request could meet its end. */
const IDLE_MS = 4_000;
const MAX_PATH_CHARS = 16_384;
/** Such an answer was given without doing anything (RFC 9110 section 15.5, RFC 6585). */
const PASSING_STATUS = new Set([429, 503]);
/** It has taken the write, and not done it yet. */
const TAKEN = 202;
const CONFLICT_STATUS = new Set([409, 412, 423, 428]);

type Request = Marked<WriteRequest> & { readonly put?: Marked<PutRequest> };

/**
 * Has the application's own endpoint perform writes. It may leave the mark that `Tidemark-Write` names in its transaction; then what
 * is cached survives its own change, else it is evicted when the change arrives. A write is never sent twice.
 */
export class HttpWriter implements WriteExecutor {
  readonly headers: readonly string[] = [];
  readonly put?: (request: Marked<PutRequest>) => Promise<Executed>;
  readonly delete?: (request: Marked<WriteRequest>) => Promise<Executed>;
  readonly #timeoutMs: number;
  readonly #pattern: KeyPattern;
  readonly #keep: 'written' | 'answer' | 'nothing';
  readonly #maxBytes: number;
  readonly #agents: Agent[] = [];
  #underWay = 0;

  /**
   * @param options.keep what is under a key after a put: the value as it was sent, the body of the answer, or nobody knows
   * @param options.maxBytes of a value
   */
  constructor(options: { config: WriteThroughConfig; keep: 'written' | 'answer' | 'nothing'; maxBytes: number }) {
    const { config } = options;
    this.#timeoutMs = config.timeout;
    this.#pattern = parseKeyPattern(config.key);
    this.#keep = options.keep;
    this.#maxBytes = options.maxBytes;
    const { put, delete: remove } = config;
    if (put?.kind === 'http') {
      const run = this.#step(put);
      this.put = (request) => run({ ...request, put: request });
    }
    if (remove?.kind === 'http') this.delete = this.#step(remove);
  }

  /** Ends idle connections, and no other. */
  close(): void {
    for (const agent of this.#agents) agent.destroy();
  }

  #step(step: WriteThroughHttp): (request: Request) => Promise<Executed> {
    const [text = ''] = /^https?:\/\/[^/?]+/.exec(step.url) ?? [];
    const origin = new URL(text);
    const template = parseTemplate(step.url.slice(text.length));
    const http = process.getBuiltinModule(origin.protocol === 'https:' ? 'node:https' : 'node:http');
    const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS, timeout: IDLE_MS });
    this.#agents.push(agent);
    return async (wanted) => {
      const parts = this.#pattern.match(wanted.key);
      if (parts === undefined) return failed('invalid', `found a key of another shape, expected ${this.#pattern.text}`);
      const path = pathOf(fill(template, parts, encodeURIComponent));
      if (path === undefined)
        return failed('invalid', 'the key would lead out of its place in the URL, or make it too long');
      if (this.#underWay >= MOST) return failed('busy', `${MOST} writes are under way or wait for a connection`);
      this.#underWay += 1;
      try {
        return await this.#send(wanted, { send: http.request, agent, origin, path, step });
      } finally {
        this.#underWay -= 1;
      }
    };
  }

  #send(
    wanted: Request,
    how: { send: typeof request; agent: Agent; origin: URL; path: string; step: WriteThroughHttp },
  ): Promise<Executed> {
    const { agent, origin, path, step } = how;
    const { put, mark } = wanted;
    const limit = new TimeLimit({ timeoutMs: this.#timeoutMs });
    return new Promise((resolve) => {
      const outgoing = how.send({
        method: step.method,
        protocol: origin.protocol,
        // Node wants an address of IPv6 without its brackets.
        hostname: origin.hostname.replace(/^\[|\]$/g, ''),
        port: origin.port,
        path,
        agent,
        headers: {
          ...step.headers,
          'tidemark-write': mark,
          ...(put && { 'content-type': put.contentType, 'content-length': put.body.length }),
        },
      });
      // Nothing of a write leaves before its connection stands; errors of the network come at any time.
      let stage: 'queued' | 'connecting' | 'sent' = 'queued';
      const settle = (ended: Executed): void => {
        forget();
        resolve(ended);
      };
      // What the status has said holds, whatever becomes of the body.
      let answered: Executed | undefined;
      const forget = limit.onEnd(() => {
        outgoing.destroy();
        const within = `within ${this.#timeoutMs} ms`;
        if (answered !== undefined) settle(answered);
        else if (stage === 'sent') settle(unknown(`no answer ${within}`));
        else if (stage === 'queued') settle(failed('busy', `no connection became free ${within}`));
        else settle(failed('unavailable', `the endpoint cannot be reached: no connection ${within}`));
      });
      outgoing.on('socket', (socket) => {
        stage = socket.connecting ? 'connecting' : 'sent';
        if (socket.connecting)
          socket.once(origin.protocol === 'https:' ? 'secureConnect' : 'connect', () => (stage = 'sent'));
      });
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        const detail = error.message || (error.code ?? 'no reason');
        if (answered !== undefined) settle(answered);
        else if (stage === 'sent') settle(unknown(detail));
        else settle(failed('unavailable', `the endpoint cannot be reached: ${detail}`));
      });
      outgoing.on('response', (answer) => {
        const said = this.#saidBy(answer, wanted);
        answered = said;
        bodyOf(answer, this.#maxBytes).then(
          (body) => settle(this.#withBody(said, { answer, body, wanted })),
          () => settle(said),
        );
      });
      outgoing.end(put?.body);
    });
  }

  /** What the head of an answer says. */
  #saidBy({ statusCode = 0, headers }: IncomingMessage, { put }: Request): Executed {
    if (statusCode === 404 || statusCode === 410) return { kind: 'nothing' };
    if (statusCode < 200 || statusCode > 299) {
      const detail = `the endpoint answered ${statusCode}`;
      if (CONFLICT_STATUS.has(statusCode)) return failed('conflict', detail);
      if (PASSING_STATUS.has(statusCode)) return failed('unavailable', detail);
      return statusCode >= 400 && statusCode < 500 ? failed('invalid', detail) : unknown(detail);
    }
    const lsn = positionIn(headers);
    let value: WrittenValue | undefined;
    if (statusCode !== TAKEN && this.#keep !== 'nothing')
      if (put === undefined) value = { kind: 'absent' };
      else if (this.#keep === 'written')
        value = { kind: 'value', body: put.body, contentType: put.contentType, tags: put.tags };
    const created = statusCode === 201 ? true : undefined;
    return { kind: 'committed', created, lsn: lsn ?? 'ask', timeline: undefined, value };
  }

  /** The same, with the value that came behind it where that is to be kept. */
  #withBody(
    said: Executed,
    found: { answer: IncomingMessage; body: Uint8Array | undefined; wanted: Request },
  ): Executed {
    const { answer, body, wanted } = found;
    const { headers, statusCode = 0 } = answer;
    if (said.kind !== 'committed' || this.#keep !== 'answer' || wanted.put === undefined || statusCode === TAKEN)
      return said;
    const { 'content-encoding': encoding = 'identity', 'content-type': type, 'cache-control': control } = headers;
    if (body === undefined || encoding !== 'identity') return said;
    try {
      const { noStore, noCache } = parseCacheControl(control);
      if (noStore || noCache) return said;
      return { ...said, value: { kind: 'value', body, contentType: parseContentType(type), tags: wanted.put.tags } };
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      return said;
    }
  }
}

/** Undefined where none is told, or none that is one. */
function positionIn(headers: IncomingMessage['headers']): Lsn | undefined {
  const field = headers['tidemark-lsn'] ?? headers['tidemark-loaded-at'];
  try {
    return parsePosition('Tidemark-Lsn', typeof field === 'object' ? field[0] : field);
  } catch (error) {
    if (!(error instanceof FieldError)) throw error;
    return undefined;
  }
}

/**
 * Undefined for a path in which a key would not stay in its place: a segment of dots alone means a step (RFC 3986 section 5.2.4, and URL
 * implementations decode %2e for it).
 */
function pathOf(filled: string): string | undefined {
  const path = filled.startsWith('/') ? filled : `/${filled}`;
  const [segments = ''] = path.split('?', 1);
  const steps = segments.split('/').some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment));
  return steps || path.length > MAX_PATH_CHARS ? undefined : path;
}

/** Undefined for a body that is too large to be kept; the status has said already that all was done. */
async function bodyOf(answer: IncomingMessage, most: number): Promise<Uint8Array | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > most) {
      answer.destroy();
      return undefined;
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function failed(why: WriteFailure, detail: string): Executed {
  return { kind: 'failed', why, detail };
}

function unknown(detail: string): Executed {
  return failed(
    'unknown',
    `the endpoint was asked, but did not say that it is done (${detail}): read the value to find out`,
  );
}
