import {
  type KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  PatchStrategy,
  ApiException,
} from '@kubernetes/client-node';
import { parseAllDocuments } from 'yaml';

/** An object of any kind, as a manifest has it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: object;
  readonly [field: string]: unknown;
}

/** Which object. */
export interface Reference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** What kubectl does with objects of any kind. */
export interface Objects {
  /** Server-side apply of manifests or of YAML with any number of them, in their order; answers what the server has then. */
  apply<T extends KubernetesObject = KubernetesObject>(...manifests: readonly (Manifest | string)[]): Promise<T[]>;
  /** What the server would make of a new object, admission included, without keeping it. */
  dryRun<T extends KubernetesObject = KubernetesObject>(manifest: Manifest): Promise<T>;
  /** The object, or nothing where there is none. */
  get<T extends KubernetesObject = KubernetesObject>(reference: Reference): Promise<T | undefined>;
  list<T extends KubernetesObject = KubernetesObject>(
    apiVersion: string,
    kind: string,
    namespace?: string,
    labelSelector?: string,
  ): Promise<T[]>;
  /** Deletes it if it is there, and what it owns in the background; does not wait until it is gone. */
  delete(reference: Reference): Promise<void>;
}

export function objectsOf(config: KubeConfig): Objects {
  // A new client for each call: it caches which kinds there are, and tests add some.
  const client = (): KubernetesObjectApi => KubernetesObjectApi.makeApiClient(config);
  const none = undefined;
  return {
    apply: async <T extends KubernetesObject>(...manifests: readonly (Manifest | string)[]) => {
      const wanted = manifests.flatMap((each) => (typeof each === 'string' ? parse(each) : [each]));
      const applied: T[] = [];
      for (const manifest of wanted) {
        applied.push(
          await client().patch<T>(
            manifest as unknown as T,
            none,
            none,
            'tidemark-test',
            true,
            PatchStrategy.ServerSideApply,
          ),
        );
      }
      return applied;
    },
    dryRun: async <T extends KubernetesObject>(manifest: Manifest) =>
      client().create<T>(manifest as unknown as T, none, 'All'),
    get: async <T extends KubernetesObject>(reference: Reference) => absent(client().read<T>(reference as never)),
    list: async <T extends KubernetesObject>(
      apiVersion: string,
      kind: string,
      namespace?: string,
      labelSelector?: string,
    ) => (await client().list<T>(apiVersion, kind, namespace, none, none, none, none, labelSelector)).items,
    delete: async (reference) => {
      await absent(client().delete(reference, none, none, none, none, 'Background'));
    },
  };
}

function parse(text: string): Manifest[] {
  return parseAllDocuments(text).flatMap((document) => {
    const value = document.toJS() as Manifest | null;
    return value === null ? [] : [value];
  });
}

async function absent<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiException && error.code === 404) return undefined;
    throw error;
  }
}
