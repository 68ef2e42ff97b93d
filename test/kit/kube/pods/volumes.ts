import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { CoreV1Api, V1KeyToPath, V1Pod, V1Volume, V1VolumeProjection } from '@kubernetes/client-node';
import { KitError } from '../../error.ts';
import { fieldOf, type References } from './environment.ts';

type Files = Readonly<Record<string, string>>;

export interface VolumeSource {
  readonly pod: V1Pod;
  readonly core: CoreV1Api;
  readonly references: References;
}

/** The ConfigMaps and Secrets that a volume shows, as `ConfigMap/NAME`: when one changes, the volume is written again. */
export function shownBy(volume: V1Volume): string[] {
  const one = (configMap: string | undefined, secret: string | undefined): string[] => [
    ...(configMap === undefined ? [] : [`ConfigMap/${configMap}`]),
    ...(secret === undefined ? [] : [`Secret/${secret}`]),
  ];
  return [
    ...one(volume.configMap?.name, volume.secret?.secretName),
    ...(volume.projected?.sources ?? []).flatMap((each) => one(each.configMap?.name, each.secret?.name)),
  ];
}

/**
 * Writes a volume into `folder` (made when it is not there). Files stand behind a symlink that is swapped when they
 * change, as kubelet does it (https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter): a reader sees the old
 * files or the new ones.
 * @throws KitError for a kind that is not played; what the API server says where an object is missing
 */
export async function writeVolume(folder: string, volume: V1Volume, source: VolumeSource): Promise<void> {
  await mkdir(folder, { recursive: true });
  if (volume.emptyDir !== undefined) {
    await chmod(folder, 0o777);
    return;
  }
  const { references } = source;
  if (volume.configMap !== undefined) {
    const { name = '', optional, items } = volume.configMap;
    await swap(folder, pick(await references.configMap(name, optional === true), items));
  } else if (volume.secret !== undefined) {
    const { secretName = '', optional, items } = volume.secret;
    await swap(folder, pick(await references.secret(secretName, optional === true), items));
  } else if (volume.projected !== undefined) {
    const parts = await Promise.all((volume.projected.sources ?? []).map((part) => projected(part, source)));
    await swap(folder, Object.assign({}, ...parts) as Files);
  } else {
    throw new KitError(`volume ${volume.name}: the pod runner does not play ${Object.keys(volume).join(', ')}.`);
  }
}

async function projected(part: V1VolumeProjection, { pod, core, references }: VolumeSource): Promise<Files> {
  if (part.configMap !== undefined) {
    const { name = '', optional, items } = part.configMap;
    return pick(await references.configMap(name, optional === true), items);
  }
  if (part.secret !== undefined) {
    const { name = '', optional, items } = part.secret;
    return pick(await references.secret(name, optional === true), items);
  }
  if (part.downwardAPI !== undefined) {
    const items = part.downwardAPI.items ?? [];
    return Object.fromEntries(items.map(({ path, fieldRef }) => [path, fieldOf(pod, fieldRef?.fieldPath ?? '')]));
  }
  if (part.serviceAccountToken !== undefined) {
    const { path, audience, expirationSeconds = 3600 } = part.serviceAccountToken;
    return {
      [path]: await tokenOf(pod, core, { audiences: audience === undefined ? [] : [audience], expirationSeconds }),
    };
  }
  throw new KitError(`the pod runner does not play a projection of ${Object.keys(part).join(', ')}.`);
}

/** A token of the pod's service account that is bound to the pod, as kubelet asks for it. */
async function tokenOf(
  pod: V1Pod,
  core: CoreV1Api,
  wanted: { readonly audiences: string[]; readonly expirationSeconds: number },
): Promise<string> {
  const { name = '', namespace = '', uid = '' } = pod.metadata ?? {};
  const answer = await core.createNamespacedServiceAccountToken({
    name: pod.spec?.serviceAccountName ?? 'default',
    namespace,
    body: { spec: { ...wanted, boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name, uid } } },
  });
  return answer.status?.token ?? '';
}

function pick(data: Files, items: readonly V1KeyToPath[] | undefined): Files {
  if (items === undefined) return data;
  return Object.fromEntries(
    items.map(({ key, path }) => {
      const value = data[key];
      if (value === undefined) throw new KitError(`there is no key ${key}, only ${Object.keys(data).join(', ')}.`);
      return [path, value];
    }),
  );
}

async function swap(folder: string, files: Files): Promise<void> {
  const current = join(folder, '..data');
  const before = await readlink(current).catch(() => undefined);
  const next = `..${randomBytes(6).toString('hex')}`;
  await mkdir(join(folder, next));
  for (const [path, text] of Object.entries(files)) {
    const file = join(folder, next, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
  await symlink(next, `${current}.new`);
  await rename(`${current}.new`, current);
  const shown = new Set(Object.keys(files).map((path) => path.split('/')[0] ?? path));
  const there = await readdir(folder);
  for (const name of shown) if (!there.includes(name)) await symlink(join('..data', name), join(folder, name));
  // Somebody may be reading the version before this one, but none older than that.
  const kept = new Set(['..data', next, before, ...shown]);
  for (const name of there) if (!kept.has(name)) await rm(join(folder, name), { recursive: true });
}
