import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Where a server of ours listens. */
export interface Target {
  readonly port?: number;
  readonly path?: string;
  readonly tls?: boolean;
}

/**
 * What a caller does with its end of a connection. `wait`: until the server closes it, which it must. `finish`: waits a moment,
 * then ends its own direction. `reset`: goes away without a word.
 */
export type End = 'wait' | 'finish' | 'reset';

export interface Sent {
  readonly pieces: readonly Uint8Array[];
  readonly end: End;
}

/** What came back. */
export interface Received {
  readonly bytes: Buffer;
  /** False where the server kept the connection open for longer than it may. */
  readonly isClosed: boolean;
}

const FINISH_AFTER_MS = 40;
const RESET_AFTER_MS = 5;
/** Longer than anything that a server of ours waits for before it answers. */
const PATIENCE_MS = 60_000;

/** Sends bytes over a connection of their own. */
export function exchange(target: Target, { pieces, end }: Sent): Promise<Received> {
  return new Promise((resolve) => {
    const socket = open(target);
    const chunks: Buffer[] = [];
    const timers: NodeJS.Timeout[] = [];
    const done = (isClosed: boolean): void => {
      for (const timer of timers) clearTimeout(timer);
      resolve({ bytes: Buffer.concat(chunks), isClosed });
    };
    const after = (ms: number, what: () => void): void => void timers.push(setTimeout(what, ms));
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => undefined);
    socket.once('close', () => done(true));
    after(PATIENCE_MS, () => {
      socket.removeAllListeners('close').destroy();
      done(false);
    });
    socket.once(target.tls === true ? 'secureConnect' : 'connect', () => {
      write(socket, pieces, 0, () => {
        if (end === 'finish') after(FINISH_AFTER_MS, () => socket.end());
        if (end === 'reset') after(RESET_AFTER_MS, () => socket.destroy());
      });
    });
  });
}

function open({ tls, port, path }: Target): Socket {
  const where = path === undefined ? { host: '127.0.0.1', port: port ?? 0 } : { path };
  // A certificate of the test's own; what is looked at is not trust.
  return tls === true ? connectTls({ ...where, rejectUnauthorized: false }) : connect(where);
}

/** Each piece is a packet of its own, as far as a kernel lets that be. */
function write(socket: Socket, pieces: readonly Uint8Array[], at: number, done: () => void): void {
  const piece = pieces[at];
  if (piece === undefined || !socket.writable) {
    done();
    return;
  }
  socket.write(piece);
  setImmediate(write, socket, pieces, at + 1, done);
}
