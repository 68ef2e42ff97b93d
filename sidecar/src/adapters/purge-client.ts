import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { parseLsn, type PurgeRequest } from '@tidemark/proto';
import { request as httpRequest } from '@tidemark/runtime';
import type { PurgeClient } from '../core/ports.ts';

const MAX_ANSWER_BYTES = 64 * 1024;

/** Asks the invalidator, which has the connection to Postgres, to write purges into the WAL. */
export class HttpPurgeClient implements PurgeClient {
  readonly #url: URL;
  readonly #timeoutMs: number;

  constructor(options: { invalidatorUrl: string; timeoutMs: number }) {
    this.#url = new URL(
      'v1/purge',
      options.invalidatorUrl.endsWith('/') ? options.invalidatorUrl : `${options.invalidatorUrl}/`,
    );
    this.#timeoutMs = options.timeoutMs;
  }

  async purge(request: PurgeRequest): ReturnType<PurgeClient['purge']> {
    try {
      const { status, body } = await this.#post(JSON.stringify(request));
      if (status !== 200) return { failed: `the invalidator answered ${status}` };
      const { lsn } = JSON.parse(body) as { lsn?: unknown };
      return { lsn: parseLsn(String(lsn)) };
    } catch (error) {
      return { failed: `the invalidator cannot be asked: ${(error as Error).message}` };
    }
  }

  #post(body: string): Promise<{ status: number; body: string }> {
    const send = this.#url.protocol === 'https:' ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const outgoing = send(
        this.#url,
        {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
          // Also ends a connection that was accepted but never answers.
          signal: AbortSignal.timeout(this.#timeoutMs),
        },
        (answer) => {
          readAll(answer).then((text) => resolve({ status: answer.statusCode ?? 0, body: text }), reject);
        },
      );
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }
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
