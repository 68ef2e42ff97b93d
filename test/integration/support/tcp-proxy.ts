import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** What is done to the answers on one connection. */
export type Fault =
  | { readonly kind: 'pass' }
  /** Both ends are closed once so many bytes of answers went through, in the middle of an answer if it so happens. */
  | { readonly kind: 'cut'; readonly afterBytes: number }
  /** Answers are swallowed; the connection stays. */
  | { readonly kind: 'silence' };

/** Stands before a Kafka broker and damages the connections of one client. */
export class KafkaProxy {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  readonly #clientId: string;
  targetPort = 0;
  /** Chooses what happens to a new connection of the client. */
  fault: () => Fault = () => ({ kind: 'pass' });
  /** Connections that were cut. */
  cuts = 0;

  private constructor(clientId: string) {
    this.#clientId = clientId;
    this.#server = createServer((near) => this.#join(near));
  }

  /** @param clientId only connections whose first request names this client are damaged */
  static async start(clientId: string): Promise<KafkaProxy> {
    const proxy = new KafkaProxy(clientId);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends every connection there is, whatever is on its way. */
  cutAll(): void {
    this.cuts += this.#pairs.size;
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  async stop(): Promise<void> {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(near: Socket): void {
    const far = connect(this.targetPort, '127.0.0.1');
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    const end = (): void => {
      this.#pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    for (const socket of pair) socket.on('error', end).on('close', end);
    let fault: Fault | undefined;
    near.on('data', (request: Buffer) => {
      fault ??= request.includes(this.#clientId) ? this.fault() : { kind: 'pass' };
      far.write(request);
    });
    let passed = 0;
    far.on('data', (answer: Buffer) => {
      if (fault?.kind === 'silence') return;
      const left = fault?.kind === 'cut' ? fault.afterBytes - passed : Infinity;
      passed += answer.length;
      if (answer.length < left) {
        near.write(answer);
        return;
      }
      this.cuts += 1;
      near.write(answer.subarray(0, left), end);
    });
  }
}
