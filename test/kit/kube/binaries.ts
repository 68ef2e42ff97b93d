import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cached, cacheFolder } from '../cache.ts';
import { startChild } from '../child.ts';
import { KitError, type Progress } from '../error.ts';
import { goCommand } from '../go-install.ts';
import { LogRing } from '../log.ts';
import { alone } from '../lock.ts';

const sources = fileURLToPath(new URL('go/', import.meta.url));
const modules = readFileSync(join(sources, 'go.mod'), 'utf8');

/** The Kubernetes that the tests run, as 1.36.3. All versions are pinned in go/go.mod. */
export const kubernetesVersion = pinned('k8s.io/kubernetes');
const [major = '', minor = ''] = kubernetesVersion.split('.');

function pinned(module: string): string {
  const version = new RegExp(`^\\t${module} v(\\S+)`, 'm').exec(modules)?.[1];
  if (version === undefined) throw new KitError(`${sources}go.mod pins no version of ${module}.`);
  return version;
}

const programs = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kwok'] as const;
export type ClusterProgram = (typeof programs)[number];

/** What a build is made from: another text of one of them is another build. */
const inputs = ['go.mod', 'go.sum', 'cluster/main.go'];
/** About how many lines `go build -v` writes: the packages that are compiled. */
const packages = 2_800;
const tellEachMs = 20_000;

/** What they say of themselves, which official builds are told in the same way; charts ask helm and the API server. */
const versions = {
  'k8s.io/component-base/version.gitVersion': `v${kubernetesVersion}`,
  'k8s.io/component-base/version.gitMajor': major,
  'k8s.io/component-base/version.gitMinor': minor,
  'helm.sh/helm/v3/internal/version.version': `v${pinned('helm.sh/helm/v3')}`,
  'helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor': major,
  'helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor': minor,
};
const linkerFlags = ['-s -w', ...Object.entries(versions).map(([name, value]) => `-X ${name}=${value}`)].join(' ');

let folder: Promise<string> | undefined;

/**
 * Where a program of the cluster is, or helm: in the folder that TIDEMARK_TEST_KUBE_BINARIES names, else they are built from their Go modules into the cache folder, once for each
 * text of go.mod (4 minutes on 2 cores where nothing is compiled yet), by one process at a time.
 * @throws KitError where Go cannot be had, or cannot build them
 */
export async function kubeBinary(name: ClusterProgram | 'helm', progress: Progress): Promise<string> {
  const named = process.env['TIDEMARK_TEST_KUBE_BINARIES'];
  if (named !== undefined && named !== '') return join(named, name);
  folder ??= install(progress);
  return join(await folder, name);
}

async function install(progress: Progress): Promise<string> {
  const hash = createHash('sha256').update(linkerFlags);
  for (const file of inputs) hash.update(await readFile(join(sources, file)));
  const entry = `kube-${kubernetesVersion}-${hash.digest('hex').slice(0, 8)}-${process.platform}-${process.arch}`;
  if (existsSync(join(cacheFolder(), entry))) return join(cacheFolder(), entry);
  return alone('kube-build', progress, () => cached(entry, (draft) => build(draft, progress)));
}

async function build(draft: string, progress: Progress): Promise<void> {
  const command = await goCommand(progress);
  progress(
    `building Kubernetes ${kubernetesVersion}, etcd, kwok and helm with Go (once; about 4 minutes on two cores)`,
  );
  const log = new LogRing();
  const beginMs = Date.now();
  let compiled = 0;
  const telling = setInterval(() => {
    const seconds = Math.round((Date.now() - beginMs) / 1000);
    progress(
      compiled === 0
        ? `fetching and reading their modules (${seconds} s)`
        : `${compiled} of about ${packages} packages compiled (${seconds} s)`,
    );
  }, tellEachMs);
  const child = startChild({
    command,
    args: [
      'build',
      '-v',
      '-trimpath',
      '-buildvcs=false',
      '-gcflags=all=-dwarf=false', // nobody debugs them, and Go's cache is a quarter smaller
      `-ldflags=${linkerFlags}`,
      '-o',
      `${draft}/`,
      './cluster',
      'helm.sh/helm/v3/cmd/helm',
    ],
    cwd: sources,
    // Without cgo no C compiler is needed, and the binaries fit every Linux of this architecture.
    env: { ...process.env, CGO_ENABLED: '0', GOWORK: 'off' },
    orphanSignal: 'SIGKILL',
    log,
    onLine: (line) => {
      if (!line.startsWith('go: ')) compiled += 1;
    },
  });
  try {
    const exit = await child.exited;
    if (exit.code !== 0) {
      throw new KitError(
        `the programs of a test cluster cannot be built with Go (see ${sources}go.mod). The last lines:\n${log.tail(20).join('\n')}`,
      );
    }
  } finally {
    clearInterval(telling);
  }
  for (const name of programs) await symlink('cluster', join(draft, name));
  progress(`built (${Math.round((Date.now() - beginMs) / 1000)} s)`);
}
