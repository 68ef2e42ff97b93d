import { once } from 'node:events';
import { request, type IncomingHttpHeaders, type RequestOptions, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { createLogger } from '@tidemark/runtime';
import type { PositionClient, PurgeClient } from '../core/ports.ts';
import { BatchReader } from '../core/batch-reader.ts';
import type { Follower } from '../core/follower.ts';
import { Positions } from '../core/positions.ts';
import { Purger } from '../core/purger.ts';
import { Budget } from '../adapters/l1/budget.ts';
import { Warmer } from '../core/warmer.ts';
import { Sessions } from '../core/sessions.ts';
import { statusOf } from '../core/status.ts';
import type { Writer } from '../core/writer.ts';
import { createApp } from '../http/app.ts';
import { batchRoute } from '../http/batch-route.ts';
import { cacheRoutes } from '../http/cache-routes.ts';
import { hitPath } from '../http/hit-path.ts';
import { openapi } from '../http/openapi.ts';
import { purgeRoute } from '../http/purge-route.ts';
import { warmRoute } from '../http/warm-route.ts';
import { writeRoute } from '../http/write-route.ts';
import { createListener } from '../http/server.ts';
import { undocumented } from './documented.ts';
import { testCore, type TestCore, type TestCoreOptions } from './core.ts';

export const SESSION_TIMEOUT_MS = 2_000;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Of a problem document; the last part of its type. */
  readonly problem: string | undefined;
  readonly lease: string | undefined;
  readonly cacheStatus: string | undefined;
  readonly session: string | undefined;
}

export interface Asked {
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string | Uint8Array;
}

export interface TestServer extends TestCore {
  readonly sessions: Sessions;
  readonly positions: Positions;
  readonly batches: BatchReader;
  readonly server: Server;
  readonly port: number;
  /** How often a request came through to Express. */
  readonly slow: () => number;
  ask(method: string, path: string, asked?: Asked): Promise<Answer>;
  /** Sends bytes as they are and answers what came back until the server closed the connection. */
  raw(bytes: string | Uint8Array): Promise<string>;
  close(): Promise<void>;
}

/** A core behind a server that really listens, with a purge client that writes into the test's stream. */
export async function testServer(
  options: TestCoreOptions & {
    purge?: PurgeClient;
    position?: PositionClient['position'];
    writer?: Writer;
    /** Whether everything is left to Express. */
    withoutHitPath?: boolean;
  } = {},
): Promise<TestServer> {
  const core = testCore(options);
  const { namespaces, replica, reader, filler, passing, clock, watermark, stream, coalescer } = core;
  const client: PurgeClient = options.purge ?? {
    purge: ({ purge }) => {
      const lsn = stream.to + 10;
      stream.say({ users: purge.flatMap(({ keys }) => keys) });
      return Promise.resolve({ lsn });
    },
  };
  const position = options.position ?? (() => Promise.resolve({ epoch: replica.epoch, lsn: stream.to }));
  const positions = new Positions({ client: { position }, most: 10 });
  const sessions = new Sessions({
    source: 'main',
    replica,
    watermark,
    positions,
    clock,
    timeoutMs: SESSION_TIMEOUT_MS,
  });
  const batches = new BatchReader({
    reader,
    passing,
    replica,
    watermark,
    positions,
    clock,
    timeoutMs: SESSION_TIMEOUT_MS,
  });
  const purger = new Purger({ client, watermark, waitMs: 1_000 });
  const logger = createLogger({ service: 'sidecar', instance: 'test', level: 'silent' });
  const app = createApp({
    health: { unready: () => undefined, metrics: () => Promise.resolve({ contentType: 'text/plain', body: '' }) },
    status: () =>
      statusOf({
        version: '0',
        config: { from: 'file', state: 'taken', term: null, revision: null, complaint: null },
        core: { ...core, source: 'main', follower: { lagMs: 0 } as Follower },
        l2: () => ({ state: 'off', lagMs: null }),
        clock,
      }),
    openapi,
    logger,
    cache: cacheRoutes({ ...core, namespaces, replica, reader, filler, purger, clock, sessions, coalescer }),
    purge: purgeRoute({ namespaces, purger, sessions }),
    warm: warmRoute({
      namespaces,
      warmer: new Warmer({ ...core, hotList: undefined, keySource: undefined, total: new Budget(), loadPool: 4 }),
    }),
    write: writeRoute({ namespaces, sessions, writerOf: ({ name }) => (name === 'user' ? options.writer : undefined) }),
    batch: batchRoute({ namespaces, replica, batches, filler, coalescer, sessions, clock }),
  });
  let slow = 0;
  const fallback: typeof app = (incoming, response) => {
    slow += 1;
    app(incoming, response);
  };
  const listener =
    options.withoutHitPath === true ? fallback : hitPath({ namespaces, replica, coalescer, clock, fallback });
  // A machine that stands still is no caller that takes too long.
  const server = createListener(listener, { maxConnections: 100, requestTimeoutMs: 600_000 });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  stream.say();
  return {
    ...core,
    sessions,
    positions,
    batches,
    server,
    port,
    slow: () => slow,
    ask: async (method, path, asked) => {
      const answer = await ask({ port, host: '127.0.0.1', method, path }, asked);
      const complaint = undocumented({ ...answer, method, path });
      if (complaint !== undefined) throw new Error(`not as /openapi.json says: ${complaint}`);
      return answer;
    },
    raw: (bytes) => raw(port, bytes),
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** One request over a connection of its own. */
export function ask(target: RequestOptions, { headers, body }: Asked = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const outgoing = request(
      { ...target, agent: false, headers: { ...length, ...headers } as Record<string, string> },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () => {
          const whole = Buffer.concat(chunks);
          const isProblem = answer.headers['content-type'] === 'application/problem+json' && whole.length > 0;
          resolve({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            body: whole,
            problem: isProblem ? (JSON.parse(whole.toString()) as { type: string }).type.split(':').at(-1) : undefined,
            lease: answer.headers['tidemark-lease'] as string | undefined,
            cacheStatus: answer.headers['cache-status'] as string | undefined,
            session: answer.headers['tidemark-session'] as string | undefined,
          });
        });
      },
    );
    outgoing.on('error', reject);
    // As bytes: with a text Node would send the headers in the text's encoding.
    outgoing.end(body === undefined ? undefined : Buffer.from(body));
  });
}

function raw(port: number, bytes: string | Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(text));
    socket.write(bytes);
  });
}
