import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { KitError, type Progress, silent } from '../error.ts';
import { scratchFolder } from '../scratch.ts';
import { kubeBinary } from './binaries.ts';

const maxOutputBytes = 64 * 1024 * 1024;

export interface Helm {
  /**
   * Runs helm and answers its stdout.
   * @throws KitError with what it said on stderr
   */
  run(...args: readonly string[]): Promise<string>;
  remove(): Promise<void>;
}

/** helm with folders of its own, so that nothing of the person's settings, plugins and repositories has a part in a test. */
export async function startHelm(options: { kubeconfig?: string; progress?: Progress } = {}): Promise<Helm> {
  const command = await kubeBinary('helm', options.progress ?? silent);
  const scratch = scratchFolder('helm');
  const folders = ['CACHE', 'CONFIG', 'DATA'].map((kind) => [`HELM_${kind}_HOME`, join(scratch.path, kind)]);
  const env = {
    PATH: process.env['PATH'],
    HOME: scratch.path,
    ...Object.fromEntries(folders),
    // Without a cluster, what would ask one must fail rather than find somebody's.
    KUBECONFIG: options.kubeconfig ?? join(scratch.path, 'no-cluster'),
  };
  return {
    run: async (...args) => {
      try {
        return (await promisify(execFile)(command, args, { env, maxBuffer: maxOutputBytes })).stdout;
      } catch (error) {
        const { stderr = '', stdout = '' } = error as { stderr?: string; stdout?: string };
        throw new KitError(`helm ${args.join(' ')} failed: ${stderr.trim() || stdout.trim() || String(error)}`);
      }
    },
    remove: () => scratch.remove(),
  };
}
