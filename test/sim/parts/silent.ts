import type { Logger } from '@tidemark/runtime';

export function nothing(): void {
  // Nobody is told.
}

export const silent = { debug: nothing, info: nothing, warn: nothing, error: nothing } as unknown as Logger;
