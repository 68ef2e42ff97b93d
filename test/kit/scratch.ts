import { chownSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Account, isRoot, othersCanEnter } from './account.ts';
import { guardFolder } from './guard.ts';

/** A folder that lives as long as it is used: removed by `remove`, or when this process ends in whatever way. */
export interface Scratch {
  readonly path: string;
  remove(): Promise<void>;
}

// A Unix socket's path may have 107 bytes (103 on macOS), and the temp folder of macOS uses up half of them.
const longestParent = 40;

function parent(): string {
  const folder = tmpdir();
  return folder.length > longestParent || (isRoot && !othersCanEnter(folder)) ? '/tmp' : folder;
}

/**
 * Makes an empty temp folder.
 * @param name a word in the folder's name, for the person who looks into the temp folder
 * @param owner who else must be able to use it; it is theirs then
 */
export function scratchFolder(name: string, owner?: Account): Scratch {
  const path = mkdtempSync(join(parent(), `tidemark-${name}-`));
  const unguard = guardFolder(path);
  if (owner !== undefined) chownSync(path, owner.uid, owner.gid);
  return {
    path,
    remove: async () => {
      await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
      unguard();
    },
  };
}
