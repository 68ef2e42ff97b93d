import type { CoreV1Api, V1Container, V1EnvVar, V1Pod, V1ResourceRequirements } from '@kubernetes/client-node';
import { KitError } from '../../error.ts';
import { quantity } from './quantity.ts';

/** Reads what a pod's spec refers to. Each of them rejects where the object or its key is missing and not optional. */
export interface References {
  readonly configMap: (name: string, optional: boolean) => Promise<Readonly<Record<string, string>>>;
  readonly secret: (name: string, optional: boolean) => Promise<Readonly<Record<string, string>>>;
}

/** The ConfigMaps and Secrets of one namespace, as text. */
export function referencesIn(core: CoreV1Api, namespace: string): References {
  const read = async <T>(optional: boolean, get: () => Promise<T>, none: T): Promise<T> => {
    try {
      return await get();
    } catch (error) {
      if (optional && (error as { code?: number }).code === 404) return none;
      throw error;
    }
  };
  return {
    configMap: async (name, optional) =>
      (await read(optional, () => core.readNamespacedConfigMap({ name, namespace }), {})).data ?? {},
    secret: async (name, optional) => {
      const { data = {} } = await read(optional, () => core.readNamespacedSecret({ name, namespace }), {});
      return Object.fromEntries(
        Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
      );
    },
  };
}

/** The environment of a container as kubelet makes it: envFrom, then env in its order, with `$(NAME)` of earlier ones replaced. */
export async function environmentOf(
  container: V1Container,
  of: { readonly pod: V1Pod; readonly podIp: string },
  references: References,
): Promise<Record<string, string>> {
  const env: Record<string, string> = {};
  for (const { prefix = '', configMapRef, secretRef } of container.envFrom ?? []) {
    const data = {
      ...(configMapRef && (await references.configMap(configMapRef.name ?? '', configMapRef.optional === true))),
      ...(secretRef && (await references.secret(secretRef.name ?? '', secretRef.optional === true))),
    };
    for (const [key, value] of Object.entries(data)) env[prefix + key] = value;
  }
  for (const each of container.env ?? []) {
    const value = await valueOf(each, { ...of, container, references });
    if (value !== undefined) env[each.name] = expand(value, env);
  }
  return env;
}

/** `$(NAME)` becomes the value of NAME where there is one, `$$` becomes `$`. */
export function expand(text: string, env: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$\$|\$\(([\w.-]+)\)/g, (match, name: string | undefined) =>
    name === undefined ? '$' : (env[name] ?? match),
  );
}

async function valueOf(
  { name, value, valueFrom }: V1EnvVar,
  from: {
    readonly pod: V1Pod;
    readonly podIp: string;
    readonly container: V1Container;
    readonly references: References;
  },
): Promise<string | undefined> {
  if (valueFrom === undefined) return value ?? '';
  const { configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef } = valueFrom;
  const keyRef = configMapKeyRef ?? secretKeyRef;
  if (keyRef !== undefined) {
    const optional = keyRef.optional === true;
    const read = configMapKeyRef === undefined ? from.references.secret : from.references.configMap;
    const found = (await read(keyRef.name ?? '', optional))[keyRef.key];
    if (found === undefined && !optional) {
      throw new KitError(`${name}: ${keyRef.name} has no key ${keyRef.key}.`);
    }
    return found;
  }
  if (fieldRef?.fieldPath === 'status.podIP') return from.podIp;
  if (fieldRef !== undefined) return fieldOf(from.pod, fieldRef.fieldPath);
  if (resourceFieldRef !== undefined) {
    return resourceOf(from.container.resources ?? {}, resourceFieldRef.resource, resourceFieldRef.divisor);
  }
  throw new KitError(`${name}: the pod runner knows no such source of a value: ${JSON.stringify(valueFrom)}.`);
}

/** A field of the downward API. */
export function fieldOf(pod: V1Pod, path: string): string {
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (keyed !== null) {
    const [, kind = '', key = ''] = keyed;
    return (kind === 'labels' ? pod.metadata?.labels : pod.metadata?.annotations)?.[key] ?? '';
  }
  let at: unknown = pod;
  for (const step of path.split('.')) at = (at as Record<string, unknown> | undefined)?.[step];
  if (typeof at !== 'string') throw new KitError(`the pod has no field ${path} that the pod runner can read.`);
  return at;
}

function resourceOf(resources: V1ResourceRequirements, path: string, divisor = '1'): string {
  const [kind, resource = ''] = path.split('.');
  const found = (kind === 'limits' ? resources.limits : resources.requests)?.[resource];
  if (found === undefined) throw new KitError(`the container has no ${path}; a node's allocatable is not played.`);
  const unit = divisor === '0' ? 1 : quantity(divisor);
  return `${Math.ceil(quantity(found) / unit)}`;
}
