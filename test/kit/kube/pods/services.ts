import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Cluster } from '../cluster.ts';
import { type FoundService, serviceNamed } from '../services.ts';
import type { LocalNetwork } from './network.ts';

/**
 * What kube-proxy is to a cluster: a local address for each Service that a pod's spec names, whose ports lead to the ready
 * endpoints in turn. They are looked up for each connection.
 */
export class LocalServices {
  readonly #api: Cluster['api'];
  readonly #network: LocalNetwork;
  readonly #localOf: (podIp: string) => string | undefined;
  readonly #hosts = new Map<string, Promise<string | undefined>>();
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  #turn = 0;

  constructor(options: {
    readonly api: Cluster['api'];
    readonly network: LocalNetwork;
    /** The local address of a pod. */
    readonly localOf: (podIp: string) => string | undefined;
  }) {
    this.#api = options.api;
    this.#network = options.network;
    this.#localOf = options.localOf;
  }

  /** The local address of a Service, `name.namespace`; nothing where there is none. */
  host(name: string): Promise<string | undefined> {
    const known = this.#hosts.get(name) ?? this.#open(name);
    this.#hosts.set(name, known);
    // One that is made later is found then.
    known.then(
      (host) => host ?? this.#hosts.delete(name),
      () => this.#hosts.delete(name),
    );
    return known;
  }

  async #open(dotted: string): Promise<string | undefined> {
    const [name = '', namespace = ''] = dotted.split('.');
    const service = await serviceNamed(this.#api, { namespace, name });
    if (service === undefined) return undefined;
    const { host } = this.#network.next();
    for (const port of service.ports) await this.#listen(host, port, { namespace, name });
    return host;
  }

  async #listen(host: string, port: number, service: { namespace: string; name: string }): Promise<void> {
    const server = createServer((client) => {
      this.#keep(client);
      serviceNamed(this.#api, service).then(
        (found) => this.#lead(client, found?.endpoints(port) ?? []),
        () => client.destroy(),
      );
    });
    this.#servers.push(server);
    await new Promise<void>((done, failed) => server.once('error', failed).listen(port, host, done));
    server.unref();
  }

  #lead(client: Socket, endpoints: ReturnType<FoundService['endpoints']>): void {
    const reachable = endpoints.flatMap(({ ip, port }) => {
      const host = this.#localOf(ip);
      return host === undefined ? [] : [{ host, port }];
    });
    const target = reachable[(this.#turn += 1) % (reachable.length || 1)];
    if (target === undefined) {
      client.destroy(); // kube-proxy refuses it
      return;
    }
    const upstream = connect(target);
    this.#keep(upstream);
    client.pipe(upstream).pipe(client);
    client.once('close', () => upstream.destroy());
    upstream.once('close', () => client.destroy());
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#sockets.delete(socket));
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#servers.map((server) => new Promise((done) => server.close(done))));
  }
}
