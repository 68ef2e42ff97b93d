import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Progress } from '../error.ts';
import type { ProcessHandle } from '../handle.ts';
import { kubeBinary } from './binaries.ts';
import { type ComponentSpec, host, startComponent } from './process.ts';

export interface Controllers {
  readonly controllerManager: ProcessHandle;
  readonly scheduler: ProcessHandle;
  readonly kwok: ProcessHandle;
  stop(): Promise<void>;
}

/** What Deployments, Jobs, tokens and garbage collection need, the scheduler, and kwok, which plays nodes and pods (stages.yaml). */
export async function startControllers(options: {
  readonly folder: string;
  readonly kubeconfig: string;
  readonly caFile: string;
  readonly signingKeyFile: string;
  readonly notPlayed: string | undefined;
  readonly progress: Progress;
}): Promise<Controllers> {
  const { folder, kubeconfig, progress } = options;
  const kubernetes = async (name: 'kube-controller-manager' | 'kube-scheduler', flags: readonly string[]) =>
    start({
      name,
      command: await kubeBinary(name, progress),
      ports: 1,
      home: folder,
      args: ([port]) => [
        `--kubeconfig=${kubeconfig}`,
        `--bind-address=${host}`,
        `--secure-port=${port}`,
        `--cert-dir=${join(folder, `${name}-certificates`)}`,
        '--leader-elect=false',
        ...flags,
      ],
      health: ([port]) => `https://${host}:${port}/healthz`,
    });
  const stages = await writeStages(folder, options.notPlayed);
  const started = await Promise.allSettled([
    kubernetes('kube-controller-manager', [
      `--service-account-private-key-file=${options.signingKeyFile}`,
      `--root-ca-file=${options.caFile}`,
    ]),
    kubernetes('kube-scheduler', []),
    start({
      name: 'kwok',
      command: await kubeBinary('kwok', progress),
      ports: 1,
      home: folder,
      args: ([port]) => [
        `--kubeconfig=${kubeconfig}`,
        '--manage-all-nodes=true',
        '--node-lease-duration-seconds=40',
        '--cidr=10.244.0.0/16',
        '--node-ip=10.0.0.1',
        `--server-address=${host}:${port}`,
        `--config=${stages}`,
      ],
      health: ([port]) => `http://${host}:${port}/healthz`,
    }),
  ]);
  const running = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const stop = async (): Promise<void> => {
    await Promise.all(running.map((process) => process.stop()));
  };
  const [controllerManager, scheduler, kwok] = running;
  if (controllerManager === undefined || scheduler === undefined || kwok === undefined) {
    await stop();
    throw started.find((result) => result.status === 'rejected')?.reason;
  }
  return { controllerManager, scheduler, kwok, stop };
}

async function start(spec: ComponentSpec): Promise<ProcessHandle> {
  return (await startComponent(spec)).process;
}

const nobody = 'image-of-nobody';

async function writeStages(folder: string, notPlayed = nobody): Promise<string> {
  const text = await readFile(new URL('stages.yaml', import.meta.url), 'utf8');
  const path = join(folder, 'stages.yaml');
  await writeFile(path, text.replaceAll(nobody, notPlayed));
  return path;
}
