import {
  type KubeConfig,
  type KubernetesListObject,
  type KubernetesObject,
  makeInformer,
} from '@kubernetes/client-node';

const tryAgainMs = 200;

/** Follows all objects of a path until the answer is called; a watch that breaks begins anew with a list. */
export async function follow<T extends KubernetesObject>(
  config: KubeConfig,
  path: string,
  list: () => Promise<KubernetesListObject<T>>,
  on: { readonly changed: (object: T) => void; readonly gone?: (object: T) => void },
): Promise<() => Promise<void>> {
  const informer = makeInformer<T>(config, path, list);
  let isOver = false;
  let timer: NodeJS.Timeout | undefined;
  informer.on('add', on.changed);
  informer.on('update', on.changed);
  if (on.gone !== undefined) informer.on('delete', on.gone);
  const again = (): void => {
    if (isOver) return;
    timer = setTimeout(() => void informer.start().catch(again), tryAgainMs);
  };
  informer.on('error', again);
  await informer.start();
  return async () => {
    isOver = true;
    clearTimeout(timer);
    await informer.stop();
  };
}
