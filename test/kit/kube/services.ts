import { CoreV1Api, DiscoveryV1Api, type V1Service } from '@kubernetes/client-node';
import type { Cluster } from './cluster.ts';

/** A Service as it is at this moment. */
export interface FoundService {
  readonly namespace: string;
  readonly name: string;
  readonly ports: readonly number[];
  /** The ready endpoints behind one of its ports. */
  endpoints(port: number): readonly { readonly ip: string; readonly port: number }[];
}

/** The Service of a name; nothing where there is none. */
export async function serviceNamed(
  api: Cluster['api'],
  { namespace, name }: { readonly namespace: string; readonly name: string },
): Promise<FoundService | undefined> {
  const { items } = await api(CoreV1Api).listNamespacedService({ namespace, fieldSelector: `metadata.name=${name}` });
  return items[0] && found(api, items[0]);
}

/** The Service that owns a clusterIP; nothing where nobody does. */
export async function serviceAt(api: Cluster['api'], clusterIp: string): Promise<FoundService | undefined> {
  const { items } = await api(CoreV1Api).listServiceForAllNamespaces();
  const service = items.find(({ spec }) => spec?.clusterIP === clusterIp);
  return service && found(api, service);
}

async function found(api: Cluster['api'], service: V1Service): Promise<FoundService> {
  const { name = '', namespace = '' } = service.metadata ?? {};
  const ports = service.spec?.ports ?? [];
  const slices = await api(DiscoveryV1Api).listNamespacedEndpointSlice({
    namespace,
    labelSelector: `kubernetes.io/service-name=${name}`,
  });
  return {
    namespace,
    name,
    ports: ports.map(({ port }) => port),
    endpoints: (port) => {
      const portName = ports.find((each) => each.port === port)?.name ?? '';
      return slices.items.flatMap((slice) => {
        const target = slice.ports?.find((each) => (each.name ?? '') === portName)?.port;
        if (target === undefined) return [];
        return (slice.endpoints ?? [])
          .filter(({ conditions }) => conditions?.ready !== false)
          .flatMap(({ addresses }) => addresses.map((ip) => ({ ip, port: target })));
      });
    },
  };
}
