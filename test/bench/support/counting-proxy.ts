import { connect, createServer, type Server, type Socket } from 'node:net';

/** What has passed since the proxy was made. */
export interface Passed {
  /** Open now. */
  readonly connections: number;
  readonly toServer: number;
  readonly toClient: number;
  /** Requests by name. */
  readonly requests: ReadonlyMap<string, number>;
}

/** Finds the requests in one connection's bytes: is given each piece as it comes, and names those that begin in it. */
export type Framing = () => (piece: Buffer) => string[];

/** A TCP address that leads to a port of this machine and counts what passes. */
export class CountingProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #requests = new Map<string, number>();
  #connections = 0;
  #toServer = 0;
  #toClient = 0;

  constructor(options: { readonly port: number; readonly target: () => number; readonly framing: Framing }) {
    this.#server = createServer((near) => {
      const far = connect(options.target(), '127.0.0.1');
      const requestsIn = options.framing();
      this.#connections += 1;
      near.once('close', () => (this.#connections -= 1));
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.setNoDelay(true);
        socket.on('error', () => undefined);
        socket.on('close', () => {
          this.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.on('data', (piece: Buffer) => {
        this.#toServer += piece.length;
        for (const name of requestsIn(piece)) this.#requests.set(name, (this.#requests.get(name) ?? 0) + 1);
      });
      far.on('data', (piece: Buffer) => (this.#toClient += piece.length));
      near.pipe(far).pipe(near);
    }).listen(options.port, '127.0.0.1');
  }

  get passed(): Passed {
    return {
      connections: this.#connections,
      toServer: this.#toServer,
      toClient: this.#toClient,
      requests: new Map(this.#requests),
    };
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const KAFKA_REQUESTS: Readonly<Record<number, string>> = { 1: 'fetch', 2: 'offsets', 3: 'metadata', 18: 'versions' };

/** A request is its length in four bytes, then two that say what it is. */
export const kafkaRequests: Framing = () => {
  let rest = Buffer.alloc(0);
  return (piece) => {
    rest = Buffer.concat([rest, piece]);
    const names: string[] = [];
    while (rest.length >= 6 && rest.length >= 4 + rest.readUInt32BE(0)) {
      const key = rest.readUInt16BE(4);
      names.push(KAFKA_REQUESTS[key] ?? `request ${key}`);
      rest = rest.subarray(4 + rest.readUInt32BE(0));
    }
    return names;
  };
};

/** A command is an array of strings, each with its length before it. */
export const redisCommands: Framing = () => {
  let rest = Buffer.alloc(0);
  /** The first command in `rest` and where it ends. */
  const first = (): { readonly name: string; readonly end: number } | undefined => {
    const line = (from: number): { readonly value: number; readonly next: number } | undefined => {
      const end = rest.indexOf('\r\n', from);
      return end === -1 ? undefined : { value: Number(rest.toString('latin1', from + 1, end)), next: end + 2 };
    };
    let at = line(0);
    const count = at?.value ?? 0;
    let name = '';
    for (let n = 0; n < count; n++) {
      const length = line(at?.next ?? 0);
      if (length === undefined || rest.length < length.next + length.value + 2) return undefined;
      if (n === 0) name = rest.toString('latin1', length.next, length.next + length.value).toLowerCase();
      at = { value: 0, next: length.next + length.value + 2 };
    }
    return at === undefined ? undefined : { name, end: at.next };
  };
  return (piece) => {
    rest = Buffer.concat([rest, piece]);
    const names: string[] = [];
    for (let found = first(); found !== undefined && rest.length > 0; found = first()) {
      names.push(found.name);
      rest = rest.subarray(found.end);
    }
    return names;
  };
};
