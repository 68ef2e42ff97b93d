import { type IncomingMessage, createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { FoundService } from './services.ts';

interface Local {
  readonly host: string;
  readonly port: number;
}

/** Leads what the API server sends into the cluster (calls of webhooks) to processes on this machine. */
export interface Routes {
  /**
   * Leads a port of a Service to a local process, whatever its endpoints are.
   * @param to the port on 127.0.0.1; none takes the route away
   */
  service(service: { readonly namespace: string; readonly name: string; readonly port: number }, to?: number): void;
  /**
   * Leads every port of a pod, called by itself or through a Service that selects it, to the same port of a local address.
   * @param host an address of 127.0.0.0/8; none takes the route away
   */
  network(podIp: string, host?: string): void;
}

export interface Egress extends Routes {
  /** The Unix socket on which it listens. */
  readonly socket: string;
  /** Says who owns a clusterIP; set once the API server can be asked. */
  lookUp: (clusterIp: string) => Promise<FoundService | undefined>;
  stop(): Promise<void>;
}

/**
 * The proxy to which the API server sends what is meant for the cluster's network (an egress selector, as Konnectivity is
 * one: https://kubernetes.io/docs/tasks/extend-kubernetes/setup-konnectivity/): pods have no network here, so it leads
 * `podIP:port` and `clusterIP:port` to local addresses. Without a route it answers 502 with the reason, which the API server
 * repeats in its own error.
 */
export async function startEgress(socket: string): Promise<Egress> {
  const services = new Map<string, number>();
  const pods = new Map<string, string>();
  const open = new Set<Duplex>();

  const resolve = async (target: string, egress: Egress): Promise<Local | string> => {
    const colon = target.lastIndexOf(':');
    const [ip, port] = [target.slice(0, colon), Number(target.slice(colon + 1))];
    const pod = pods.get(ip);
    if (pod !== undefined) return { host: pod, port };
    const service = await egress.lookUp(ip);
    if (service === undefined) return `no pod and no Service has the address ${target}`;
    const name = `${service.namespace}/${service.name}:${port}`;
    const routed = services.get(name);
    if (routed !== undefined) return { host: '127.0.0.1', port: routed };
    const endpoints = service.endpoints(port);
    for (const endpoint of endpoints) {
      const host = pods.get(endpoint.ip);
      if (host !== undefined) return { host, port: endpoint.port };
    }
    const ready = endpoints.map((each) => `${each.ip}:${each.port}`).join(', ') || 'none that is ready';
    return `no route leads to ${name} (endpoints: ${ready})`;
  };

  const server = createServer((_, response) => response.writeHead(405).end());
  const egress: Egress = {
    socket,
    lookUp: async () => undefined,
    service: ({ namespace, name, port }, to) => put(services, `${namespace}/${name}:${port}`, to),
    network: (podIp, host) => put(pods, podIp, host),
    stop: async () => {
      for (const stream of open) stream.destroy();
      await new Promise((done) => server.close(done));
    },
  };
  server.on('connect', (request: IncomingMessage, client: Duplex, head: Buffer) => {
    keep(client);
    resolve(request.url ?? '', egress).then(
      (to) => (typeof to === 'string' ? refuse(client, to) : lead(client, head, to)),
      (error: unknown) => refuse(client, (error as Error).message),
    );
  });
  const keep = (stream: Duplex): void => {
    open.add(stream);
    stream.on('error', () => stream.destroy());
    stream.once('close', () => open.delete(stream));
  };
  const lead = (client: Duplex, head: Buffer, to: Local): void => {
    const upstream: Socket = connect(to);
    upstream.once('connect', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      if (head.length > 0) upstream.write(head);
      client.pipe(upstream).pipe(client);
    });
    upstream.once('error', (error) => refuse(client, `${to.host}:${to.port}: ${error.message}`));
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

function put<T>(routes: Map<string, T>, key: string, to: T | undefined): void {
  if (to === undefined) routes.delete(key);
  else routes.set(key, to);
}
