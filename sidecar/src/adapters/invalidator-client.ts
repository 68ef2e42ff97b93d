import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { parseLsn, type PurgeRequest } from '@tidemark/proto';
import { request as httpRequest, shareNext } from '@tidemark/runtime';
import type { FlushedClient } from '../core/pending-follower.ts';
import type { FlushedAt } from '../core/pending-writes.ts';
import type { PositionClient, PurgeClient } from '../core/ports.ts';

const MAX_ANSWER_BYTES = 64 * 1024;

type Answer = Readonly<Record<string, unknown>>;

/** Asks the invalidator, which has the connection to Postgres, to write purges into the WAL, and where the database stands. */
export class HttpInvalidatorClient implements PurgeClient, PositionClient, FlushedClient {
  readonly position: PositionClient['position'];
  readonly #base: URL;
  readonly #timeoutMs: number;
  readonly #source: string;

  /** @param options.timeoutMs for each request as a whole */
  constructor(options: { invalidatorUrl: string; source: string; timeoutMs: number }) {
    const { invalidatorUrl } = options;
    this.#base = new URL(invalidatorUrl.endsWith('/') ? invalidatorUrl : `${invalidatorUrl}/`);
    this.#timeoutMs = options.timeoutMs;
    this.#source = options.source;
    // One request at a time, however many callers ask.
    this.position = shareNext(() => this.#askPosition());
  }

  async purge(request: PurgeRequest): ReturnType<PurgeClient['purge']> {
    try {
      const { lsn } = await this.#send('v1/purge', JSON.stringify(request));
      return { lsn: parseLsn(String(lsn)) };
    } catch (error) {
      return { failed: whyNot(error) };
    }
  }

  async flushed(topic: string): Promise<FlushedAt | { readonly failed: string }> {
    try {
      const answer = await this.#send(`v1/flushed/${encodeURIComponent(topic)}`);
      const { offset } = answer;
      if (!Number.isSafeInteger(offset)) return { failed: 'the invalidator answered no offset' };
      const position = this.#positionIn(answer);
      return 'failed' in position ? position : { ...position, offset: offset as number };
    } catch (error) {
      return { failed: whyNot(error) };
    }
  }

  async #askPosition(): ReturnType<PositionClient['position']> {
    try {
      return this.#positionIn(await this.#send('v1/position'));
    } catch (error) {
      return { failed: whyNot(error) };
    }
  }

  #positionIn({ source, epoch, lsn }: Answer): Awaited<ReturnType<PositionClient['position']>> {
    if (source !== this.#source) return { failed: `the invalidator answered for source ${String(source)}` };
    if (!Number.isSafeInteger(epoch)) return { failed: 'the invalidator answered no epoch' };
    return { epoch: epoch as number, lsn: parseLsn(String(lsn)) };
  }

  async #send(path: string, body?: string): Promise<Answer> {
    const { status, text } = await this.#exchange(new URL(path, this.#base), body);
    if (status !== 200) throw new RefusedError(`the invalidator answered ${status}`);
    return JSON.parse(text) as Answer;
  }

  #exchange(url: URL, body: string | undefined): Promise<{ status: number; text: string }> {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const posting = body !== undefined && {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    };
    return new Promise((resolve, reject) => {
      // The signal also ends a connection that was accepted but never answers.
      const outgoing = send(url, { ...posting, signal: AbortSignal.timeout(this.#timeoutMs) }, (answer) => {
        readAll(answer).then((text) => resolve({ status: answer.statusCode ?? 0, text }), reject);
      });
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }
}

/** The invalidator can be asked, but does not do it. */
class RefusedError extends Error {
  override name = 'RefusedError';
}

function whyNot(error: unknown): string {
  const { message } = error as Error;
  return error instanceof RefusedError ? message : `the invalidator cannot be asked: ${message}`;
}

async function readAll(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error('its answer is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
