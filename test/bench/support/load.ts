import { connect, type Socket } from 'node:net';

export interface Load {
  /** Answers that were received so far. */
  readonly count: () => number;
  /** Milliseconds of answers since the last call, unsorted. */
  readonly takeTimings: () => number[];
  readonly stop: () => void;
}

export interface LoadOptions {
  readonly port: number;
  readonly connections: number;
  /** Whole requests, sent in turn. */
  readonly requests: readonly Buffer[];
  /** How long a connection waits between an answer and its next request, in ms (default 0). */
  readonly thinkMs?: number;
  /** Told of each answer's status. */
  readonly onStatus?: (status: number) => void;
}

/** Keeps one request in flight on each of some connections. Written for this: a parser would cost more than the server. */
export function startLoad(options: LoadOptions): Load {
  const { port, connections, requests, thinkMs = 0 } = options;
  let count = 0;
  let timings: number[] = [];
  let isStopped = false;
  const sockets: Socket[] = [];
  for (let n = 0; n < connections; n++) {
    const socket = connect(port, '127.0.0.1').setNoDelay();
    sockets.push(socket);
    let next = Math.floor((n * requests.length) / connections);
    let missing = 0;
    let head = '';
    let sentAt = 0;
    const send = (): void => {
      if (isStopped) return;
      sentAt = performance.now();
      socket.write(requests[next++ % requests.length] as Buffer);
    };
    const take = (chunk: Buffer): void => {
      if (missing === 0) {
        head += chunk.toString('latin1');
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        options.onStatus?.(Number(head.slice(9, 12)));
        missing = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0) - (head.length - end - 4);
        head = '';
      } else {
        missing -= chunk.length;
      }
      if (missing > 0) return;
      missing = 0;
      count += 1;
      timings.push(performance.now() - sentAt);
      if (thinkMs > 0) setTimeout(send, thinkMs);
      else send();
    };
    socket.on('connect', send).on('data', take);
    socket.on('error', (error) => {
      if (!isStopped) throw error;
    });
  }
  return {
    count: () => count,
    takeTimings: () => {
      const taken = timings;
      timings = [];
      return taken;
    },
    stop: () => {
      isStopped = true;
      for (const socket of sockets) socket.destroy();
    },
  };
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}
