import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A TCP address of its own on 127.0.0.1 that leads to another port there, and can be led elsewhere or cut. */
export class Forwarder {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #target: number;
  #isCut = false;

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((near) => this.#join(near));
  }

  static async start(target: number): Promise<Forwarder> {
    const forwarder = new Forwarder(target);
    await new Promise<void>((resolve, reject) => {
      forwarder.#server.once('error', reject).listen(0, '127.0.0.1', resolve);
    });
    return forwarder;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends every connection and leads new ones to another port. */
  moveTo(target: number): void {
    this.#target = target;
    this.#endAll();
  }

  /** Ends every connection; new ones are ended at once until `heal`. */
  cut(): void {
    this.#isCut = true;
    this.#endAll();
  }

  heal(): void {
    this.#isCut = false;
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #endAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(near: Socket): void {
    if (this.#isCut) {
      near.on('error', () => undefined).destroy();
      return;
    }
    const far = connect(this.#target, '127.0.0.1');
    const pair = [near, far] as const;
    const end = (): void => {
      for (const socket of pair) {
        this.#sockets.delete(socket);
        socket.destroy();
      }
    };
    for (const socket of pair) {
      this.#sockets.add(socket);
      socket.setNoDelay(true).on('error', end).on('close', end);
    }
    near.pipe(far).pipe(near);
  }
}
