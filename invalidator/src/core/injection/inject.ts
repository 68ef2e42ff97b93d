import {
  asksForSidecar,
  readOverrides,
  SOURCE_ANNOTATION,
  STATUS_ANNOTATION,
  type Annotations,
} from './annotations.ts';
import { patchBetween, type Json, type PatchOperation } from './json-patch.ts';
import { SIDECAR_NAME, type Container, type InjectionSettings, type NamedObject } from './settings.ts';
import { sidecarFor, type Sidecar } from './sidecar.ts';

/** The fields of a pod (core/v1) that are read here; all others are carried along untouched. */
export interface Pod {
  readonly metadata: { readonly annotations?: Annotations | undefined; readonly [field: string]: unknown };
  readonly spec: {
    readonly containers: readonly Container[];
    readonly initContainers?: readonly Container[] | undefined;
    readonly volumes?: readonly NamedObject[] | undefined;
    readonly hostNetwork?: boolean | undefined;
    readonly restartPolicy?: string | undefined;
    readonly [field: string]: unknown;
  };
}

/**
 * What becomes of a pod. `refused` is for what its author has to mend: a pod that quietly came up without what it asked for
 * would be found by nobody, whereas a refusal is an event of its ReplicaSet, and the pods of before go on.
 */
export type Decision =
  | { readonly outcome: 'skipped'; readonly warnings: readonly string[] }
  | { readonly outcome: 'refused'; readonly message: string }
  | { readonly outcome: 'unchanged'; readonly warnings: readonly string[] }
  | { readonly outcome: 'injected'; readonly patch: readonly PatchOperation[]; readonly warnings: readonly string[] };

/** Decides about a pod that is being created in `namespace`. Pure, and idempotent: a second time finds nothing to do. */
export function decide(pod: Pod, namespace: string, settings: InjectionSettings): Decision {
  const annotations = pod.metadata.annotations ?? {};
  if (settings.excludedNamespaces.includes(namespace)) return skipped();
  // Another release's, which may know annotations that we do not.
  if ((annotations[SOURCE_ANNOTATION] ?? settings.source) !== settings.source) return skipped();
  const asks = asksForSidecar(annotations);
  if (asks === false) return skipped();
  if (asks !== true) return refused([asks.mistake]);
  const overrides = readOverrides(annotations);
  if ('mistakes' in overrides) return refused(overrides.mistakes);
  if (pod.spec.hostNetwork === true) {
    return refused([
      'hostNetwork: found true, expected a network of the pod: the sidecar would listen on the node, where all may read',
    ]);
  }
  const status = annotations[STATUS_ANNOTATION];
  const isThere = namesOf(pod.spec.initContainers).has(SIDECAR_NAME) || namesOf(pod.spec.containers).has(SIDECAR_NAME);
  if (isThere && status === undefined)
    return refused([`found a container named ${SIDECAR_NAME}, which is the sidecar's name: give yours another one`]);
  if (isThere && !isStatusOf(settings, status)) {
    return skipped([
      `tidemark: this pod has the sidecar of another source; ${SOURCE_ANNOTATION} says which one it shall have`,
    ]);
  }
  const sidecar = sidecarFor(settings, overrides);
  const taken = isThere ? [] : sidecar.volumes.filter(({ name }) => namesOf(pod.spec.volumes).has(name));
  if (taken.length > 0)
    return refused(
      taken.map(({ name }) => `found a volume named ${name}, which is the sidecar's: give yours another name`),
    );

  // One that is there stays as it is: others may have changed it since, and would have to change it again.
  const withSidecar = isThere ? pod : added(pod, sidecar, settings);
  const patch = patchBetween(asJson(pod), asJson(completed(withSidecar, sidecar, settings.mode)));
  const warnings = warningsAbout(pod, settings);
  return patch.length === 0 ? { outcome: 'unchanged', warnings } : { outcome: 'injected', patch, warnings };
}

/** What the status annotation says. The policy writes and reads the same text, so its form is fixed. */
export function statusOf({ source, mode }: InjectionSettings): string {
  return `{"source":"${source}","mode":"${mode}"}`;
}

function isStatusOf({ source }: InjectionSettings, status: string | undefined): boolean {
  return status?.includes(`"source":"${source}"`) === true;
}

/** The sidecar comes first, so that it runs before everything that may want to use it. */
function added(pod: Pod, sidecar: Sidecar, settings: InjectionSettings): Pod {
  const { metadata, spec } = pod;
  const volumes = [...(spec.volumes ?? []), ...sidecar.volumes];
  return {
    ...pod,
    metadata: { ...metadata, annotations: { ...metadata.annotations, [STATUS_ANNOTATION]: statusOf(settings) } },
    spec: {
      ...spec,
      ...(settings.mode === 'native'
        ? { initContainers: [sidecar.container, ...(spec.initContainers ?? [])] }
        : { containers: [sidecar.container, ...spec.containers] }),
      ...(volumes.length > 0 && { volumes }),
    },
  };
}

/** The application's containers learn where the sidecar is; init containers only where it runs before them. */
function completed(pod: Pod, sidecar: Sidecar, mode: InjectionSettings['mode']): Pod {
  const { containers, initContainers } = pod.spec;
  const told = (container: Container): Container =>
    container.name === SIDECAR_NAME ? container : withMount(withEnv(container, sidecar), sidecar);
  return {
    ...pod,
    spec: {
      ...pod.spec,
      containers: containers.map(told),
      ...(initContainers && { initContainers: mode === 'native' ? initContainers.map(told) : initContainers }),
    },
  };
}

/** Put before the others, because a variable may refer only to those before it: `$(TIDEMARK_URL)/v1`. */
function withEnv(container: Container, { applicationEnv }: Sidecar): Container {
  const present = namesOf(container.env);
  const missing = applicationEnv.filter(({ name }) => !present.has(name));
  return missing.length === 0 ? container : { ...container, env: [...missing, ...(container.env ?? [])] };
}

function withMount(container: Container, { applicationMount: mount }: Sidecar): Container {
  const mounts = container.volumeMounts ?? [];
  if (mount === undefined || mounts.some(({ mountPath }) => mountPath === mount.mountPath)) return container;
  return { ...container, volumeMounts: [...mounts, mount] };
}

function warningsAbout({ spec }: Pod, { mode }: InjectionSettings): readonly string[] {
  if (mode === 'native' || spec.restartPolicy === undefined || spec.restartPolicy === 'Always') return [];
  return [
    'tidemark: on this cluster the sidecar is an ordinary container that does not end, so this pod will not complete',
  ];
}

function skipped(warnings: readonly string[] = []): Decision {
  return { outcome: 'skipped', warnings };
}

/** More of them are nobody's typing errors, and a pod of 3 MiB has a hundred thousand. */
const MOST_MISTAKES = 8;

function refused(mistakes: readonly string[]): Decision {
  const more = mistakes.length - MOST_MISTAKES;
  const told = [...mistakes.slice(0, MOST_MISTAKES), ...(more > 0 ? [`and ${more} more`] : [])];
  return { outcome: 'refused', message: `tidemark cannot inject its sidecar: ${told.join('; ')}` };
}

function namesOf(list: readonly { readonly name: string }[] | undefined): ReadonlySet<string> {
  return new Set(list?.map(({ name }) => name));
}

/** A pod came as JSON, and the settings as YAML without anything that JSON lacks. */
function asJson(pod: Pod): Json {
  return pod as unknown as Json;
}
