import { type IncomingMessage, createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Leads what the API server sends into the cluster (calls of webhooks) to processes on this machine. */
export interface Routes {
  /**
   * Leads a port of a Service to a local process, whatever its endpoints are.
   * @param to the port on 127.0.0.1; none takes the route away
   */
  service(service: { readonly namespace: string; readonly name: string; readonly port: number }, to?: number): void;
  /**
   * Leads a port of a pod to a local process: for every Service that selects the pod, too.
   * @param to the port on 127.0.0.1; none takes the route away
   */
  pod(pod: { readonly ip: string; readonly port: number }, to?: number): void;
}

/** What a Service is at the moment of a call. */
export interface FoundService {
  readonly namespace: string;
  readonly name: string;
  /** Its ready endpoints for the port that is called, as `ip:port`. */
  readonly endpoints: readonly string[];
}

export interface Egress extends Routes {
  /** The Unix socket on which it listens. */
  readonly socket: string;
  /** Says who owns a clusterIP; set once the API server can be asked. */
  lookUp: (clusterIp: string, port: number) => Promise<FoundService | undefined>;
  stop(): Promise<void>;
}

/**
 * The proxy to which the API server sends what is meant for the cluster's network (an egress selector, as Konnectivity is
 * one: https://kubernetes.io/docs/tasks/extend-kubernetes/setup-konnectivity/): pods of kwok have no network, so it leads
 * `podIP:port` and `clusterIP:port` to local ports. Without a route it answers 502 with the reason, which the API server
 * repeats in its own error.
 */
export async function startEgress(socket: string): Promise<Egress> {
  const services = new Map<string, number>();
  const pods = new Map<string, number>();
  const open = new Set<Duplex>();

  const resolve = async (target: string, egress: Egress): Promise<number | string> => {
    const direct = pods.get(target);
    if (direct !== undefined) return direct;
    const colon = target.lastIndexOf(':');
    const port = Number(target.slice(colon + 1));
    const service = await egress.lookUp(target.slice(0, colon), port);
    if (service === undefined) return `no pod and no Service has the address ${target}`;
    const name = `${service.namespace}/${service.name}:${port}`;
    const routed = services.get(name);
    if (routed !== undefined) return routed;
    for (const endpoint of service.endpoints) {
      const local = pods.get(endpoint);
      if (local !== undefined) return local;
    }
    return `no route leads to ${name} (endpoints: ${service.endpoints.join(', ') || 'none that is ready'})`;
  };

  const server = createServer((_, response) => response.writeHead(405).end());
  const egress: Egress = {
    socket,
    lookUp: async () => undefined,
    service: ({ namespace, name, port }, to) => put(services, `${namespace}/${name}:${port}`, to),
    pod: ({ ip, port }, to) => put(pods, `${ip}:${port}`, to),
    stop: async () => {
      for (const stream of open) stream.destroy();
      await new Promise((done) => server.close(done));
    },
  };
  server.on('connect', (request: IncomingMessage, client: Duplex, head: Buffer) => {
    keep(client);
    resolve(request.url ?? '', egress).then(
      (to) => (typeof to === 'number' ? lead(client, head, to) : refuse(client, to)),
      (error: unknown) => refuse(client, (error as Error).message),
    );
  });
  const keep = (stream: Duplex): void => {
    open.add(stream);
    stream.on('error', () => stream.destroy());
    stream.once('close', () => open.delete(stream));
  };
  const lead = (client: Duplex, head: Buffer, port: number): void => {
    const upstream: Socket = connect({ host: '127.0.0.1', port });
    upstream.once('connect', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      if (head.length > 0) upstream.write(head);
      client.pipe(upstream).pipe(client);
    });
    upstream.once('error', (error) => refuse(client, `127.0.0.1:${port}: ${error.message}`));
    upstream.once('close', () => client.destroy());
    client.once('close', () => upstream.destroy());
    keep(upstream);
  };
  await new Promise<void>((done, failed) => server.once('error', failed).listen(socket, done));
  server.unref();
  return egress;
}

function refuse(client: Duplex, reason: string): void {
  if (client.writable) client.end(`HTTP/1.1 502 ${reason.replaceAll(/[\r\n]+/g, ' ')}\r\nContent-Length: 0\r\n\r\n`);
}

function put(routes: Map<string, number>, key: string, to: number | undefined): void {
  if (to === undefined) routes.delete(key);
  else routes.set(key, to);
}
