import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A simple query, as pg sends it (postgresql.org/docs/current/protocol-message-formats.html, Query). */
const COMMIT = Buffer.from('Q\0\0\0\x0bcommit\0', 'latin1');

/**
 * What becomes of a COMMIT. `cut`: Postgres does it, and its answer is lost together with the connection. `swallow`: likewise, and the
 * connection stays. `hold`: it is on its way until it is let go.
 */
export type CommitFault = 'pass' | 'cut' | 'swallow' | 'hold';

/** Stands before a Postgres, and does something to the COMMITs that pass. */
export class CommitProxy {
  fault: CommitFault = 'pass';
  /** Whether new connections are ended at once; those for cancelling are such. */
  isClosed = false;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #held: { far: Socket; request: Buffer; gone: Promise<void> }[] = [];

  private constructor(targetPort: number) {
    this.#server = createServer((near) => this.#join(near, targetPort));
  }

  static async start(targetPort: number): Promise<CommitProxy> {
    const proxy = new CommitProxy(targetPort);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** COMMITs that are held. */
  get held(): number {
    return this.#held.length;
  }

  /** Settles when Postgres has ended the connections on which COMMITs are held. */
  async abandoned(): Promise<void> {
    await Promise.all(this.#held.map(({ gone }) => gone));
  }

  /** Lets what is held go to Postgres. */
  letGo(): void {
    for (const { far, request } of this.#held.splice(0)) far.write(request);
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(near: Socket, targetPort: number): void {
    if (this.isClosed) {
      near.on('error', () => undefined).destroy();
      return;
    }
    const far = connect(targetPort, '127.0.0.1');
    const gone = new Promise<void>((resolve) => far.once('close', () => resolve()));
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined).once('close', () => this.#sockets.delete(socket));
    }
    let fault: CommitFault = 'pass';
    far.once('close', () => near.destroy());
    // Where COMMIT is on its way, Postgres does not hear that nobody waits for it.
    near.once('close', () => fault === 'hold' || far.destroy());
    near.on('data', (request: Buffer) => {
      if (request.includes(COMMIT)) fault = this.fault;
      if (fault === 'hold') this.#held.push({ far, request, gone });
      else far.write(request);
    });
    far.on('data', (answer: Buffer) => {
      if (fault === 'pass') near.write(answer);
      else if (fault === 'cut') near.destroy();
    });
  }
}
