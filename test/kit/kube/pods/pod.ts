import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { CoreV1Api, V1Container, V1ContainerStatus, V1Pod, V1PodStatus } from '@kubernetes/client-node';
import { LogRing } from '../../log.ts';
import { RunningContainer } from './container.ts';
import { type References, referencesIn } from './environment.ts';
import { launchOf, pathsOf, serviceAccountFolder } from './launch.ts';
import type { PodAddress } from './network.ts';
import { played, type PodFacts, statusOf } from './status.ts';
import { shownBy, writeVolume } from './volumes.ts';

const tryAgainMs = 200;
const settledAfterMs = 20;

/** What pods of one runner share. */
export interface PodSurroundings {
  readonly core: CoreV1Api;
  readonly apiServer: { readonly host: string; readonly port: string };
  readonly outside: ReadonlyMap<string, string>;
  readonly serviceHost: (name: string) => Promise<string | undefined>;
  /** Whether a container is run here; all others are played. */
  readonly isOurs: (container: V1Container) => boolean;
  readonly report: (pod: V1Pod, status: V1PodStatus) => Promise<void>;
}

/** A pod whose containers of our image run as processes here. */
export class RunningPod {
  readonly containers = new Map<string, RunningContainer>();
  readonly address: PodAddress;
  readonly #pod: V1Pod;
  readonly #around: PodSurroundings;
  readonly #folder: string;
  readonly #references: References;
  readonly #startedAt = new Date();
  #phase: PodFacts['phase'] = 'Pending';
  #initialized = false;
  #waitingFor = '';
  #arePlayedEnded = false;
  #writing = Promise.resolve();
  #reporting: Promise<void> | undefined;
  #isChanged = false;
  readonly #over = new AbortController();
  readonly #sequence: Promise<void>;

  constructor(pod: V1Pod, around: PodSurroundings, place: { folder: string; address: PodAddress }) {
    this.#pod = pod;
    this.#around = around;
    this.#folder = place.folder;
    this.address = place.address;
    this.#references = referencesIn(around.core, this.namespace);
    this.#sequence = this.#run();
  }

  /** What it told of itself: what it waits for, and what could not be reported. */
  readonly log = new LogRing();

  get name(): string {
    return this.#pod.metadata?.name ?? '';
  }

  get namespace(): string {
    return this.#pod.metadata?.namespace ?? '';
  }

  /** Writes volumes again that show what has changed, as `ConfigMap/NAME`. */
  refresh(changed: string): void {
    const volumes = (this.#pod.spec?.volumes ?? []).filter((volume) => shownBy(volume).includes(changed));
    for (const volume of volumes) {
      // What was deleted stays mounted as it was.
      this.#writing = this.#writing.then(() => this.#write(volume.name)).catch(() => undefined);
    }
  }

  /** Ends its processes as kubelet does, sidecars after the others and in reverse order. */
  async stop(graceMs: number): Promise<void> {
    this.#over.abort();
    await this.#sequence;
    const deadline = Date.now() + graceMs;
    const rest = (): number => Math.max(0, deadline - Date.now());
    const mains = new Set(this.#pod.spec?.containers.map(({ name }) => name));
    const running = [...this.containers.values()];
    await Promise.all(running.filter(({ name }) => mains.has(name)).map((each) => each.stop(rest())));
    for (const each of running.filter(({ name }) => !mains.has(name)).toReversed()) await each.stop(rest());
  }

  async #run(): Promise<void> {
    const { initContainers = [], containers = [], restartPolicy } = this.#pod.spec ?? {};
    const policy = restartPolicy === 'Never' || restartPolicy === 'OnFailure' ? restartPolicy : 'Always';
    try {
      await this.#prepare();
      for (const spec of initContainers) {
        if (!this.#around.isOurs(spec)) continue;
        const isSidecar = spec.restartPolicy === 'Always';
        const container = await this.#start(spec, isSidecar ? 'Always' : policy === 'Always' ? 'OnFailure' : policy);
        if (isSidecar) await this.#unlessOver(container.started);
        else if ((await this.#unlessOver(container.ended)).code !== 0) return await this.#finish(false);
      }
      this.#initialized = true;
      const own = containers.filter((spec) => this.#around.isOurs(spec));
      const started = await Promise.all(own.map((spec) => this.#start(spec, policy)));
      this.#phase = 'Running';
      this.#changed();
      if (policy === 'Always' || started.length === 0) return;
      const exits = await this.#unlessOver(Promise.all(started.map((each) => each.ended)));
      this.#arePlayedEnded = true;
      for (const { name } of initContainers.toReversed()) await this.containers.get(name)?.stop(this.#graceMs());
      await this.#finish(exits.every(({ code }) => code === 0));
    } catch (error) {
      if (this.#over.signal.aborted) return;
      this.log.add(`(kit) cannot go on: ${(error as Error).stack ?? ''}`);
      await this.#finish(false);
    }
  }

  async #finish(isSuccess: boolean): Promise<void> {
    this.#phase = isSuccess ? 'Succeeded' : 'Failed';
    this.#changed();
    await this.#reporting;
  }

  #graceMs(): number {
    return (this.#pod.spec?.terminationGracePeriodSeconds ?? 30) * 1000;
  }

  #unlessOver<T>(promise: Promise<T>): Promise<T> {
    const { signal } = this.#over;
    return Promise.race([
      promise,
      new Promise<never>((_, reject) => {
        const end = (): void => reject(new Error('the pod is deleted'));
        if (signal.aborted) end();
        else signal.addEventListener('abort', end, { once: true });
      }),
    ]);
  }

  /** Writes the volumes; like kubelet it tries until what they show is there. */
  async #prepare(): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    await chmod(this.#folder, 0o755);
    for (const { name } of this.#pod.spec?.volumes ?? []) await this.#untilDone(() => this.#write(name));
  }

  async #untilDone<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const reason = (error as Error).message.slice(0, 500);
        if (reason !== this.#waitingFor) this.log.add(`(kit) waits: ${reason}`);
        this.#waitingFor = reason;
        this.#changed();
      }
      await wait(tryAgainMs, undefined, { signal: this.#over.signal });
    }
  }

  async #write(name: string): Promise<void> {
    const volume = this.#pod.spec?.volumes?.find((each) => each.name === name);
    if (volume === undefined) return;
    const { core } = this.#around;
    await writeVolume(this.#volume(name), volume, { pod: this.#pod, core, references: this.#references });
  }

  #volume(name: string): string {
    return join(this.#folder, 'volumes', name);
  }

  async #start(spec: V1Container, restart: 'Always' | 'OnFailure' | 'Never'): Promise<RunningContainer> {
    const { apiServer, outside, serviceHost } = this.#around;
    const folder = join(this.#folder, spec.name);
    await mkdir(folder);
    await chmod(folder, 0o777);
    const paths = pathsOf(spec, (volume) => this.#volume(volume));
    const launch = await this.#untilDone(async () =>
      launchOf({
        pod: this.#pod,
        podIp: this.address.ip,
        container: spec,
        references: this.#references,
        translation: { ...this.address, paths, outside },
        serviceHost,
        apiServer,
        kubeconfig: await this.#kubeconfig(paths.get(serviceAccountFolder)),
        folder,
      }),
    );
    const container = new RunningContainer({
      spec,
      restart,
      host: this.address.host,
      launch,
      graceMs: this.#graceMs(),
      onChange: () => this.#changed(),
    });
    this.containers.set(spec.name, container);
    return container;
  }

  /** What `loadFromCluster` would make of the folder of the service account, for a folder in another place. */
  async #kubeconfig(folder: string | undefined): Promise<string | undefined> {
    if (folder === undefined) return undefined;
    const { host, port } = this.#around.apiServer;
    const cluster = { server: `https://${host}:${port}`, 'certificate-authority': join(folder, 'ca.crt') };
    const context = { cluster: 'pod', user: 'pod', namespace: this.namespace };
    const path = join(this.#folder, 'kubeconfig');
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'pod', cluster }],
      // As the client's own loadFromCluster has it: it does not know the tokenFile of kubeconfigs.
      users: [
        { name: 'pod', user: { 'auth-provider': { name: 'tokenFile', config: { tokenFile: join(folder, 'token') } } } },
      ],
      contexts: [{ name: 'pod', context }],
      'current-context': 'pod',
    };
    await writeFile(path, JSON.stringify(config));
    return path;
  }

  #changed(): void {
    this.#isChanged = true;
    this.#reporting ??= this.#report().finally(() => {
      this.#reporting = undefined;
      if (this.#isChanged && !this.#over.signal.aborted) this.#changed();
    });
  }

  async #report(): Promise<void> {
    while (this.#isChanged && !this.#over.signal.aborted) {
      await wait(settledAfterMs); // several changes of one moment are one report
      this.#isChanged = false;
      await this.#around.report(this.#pod, this.status()).catch((error: unknown) => {
        this.log.add(`(kit) its status cannot be reported: ${(error as Error).message.slice(0, 500)}`);
        this.#isChanged = true; // the API server may be away
      });
      if (this.#isChanged) await wait(tryAgainMs);
    }
  }

  status(): V1PodStatus {
    const { initContainers = [], containers = [] } = this.#pod.spec ?? {};
    return statusOf(
      {
        pod: this.#pod,
        ip: this.address.ip,
        startedAt: this.#startedAt,
        phase: this.#phase,
        initialized: this.#initialized,
        initContainers: initContainers.map((spec) => this.#statusOf(spec, this.#initialized)),
        containers: containers.map((spec) => this.#statusOf(spec, this.#arePlayedEnded)),
      },
      new Date(),
    );
  }

  #statusOf(spec: V1Container, isOver: boolean): V1ContainerStatus {
    const known = this.containers.get(spec.name)?.status();
    if (known !== undefined) return known;
    const image = spec.image ?? '';
    if (this.#around.isOurs(spec) || this.#phase === 'Pending') {
      return played(spec.name, image, { waiting: { reason: 'ContainerCreating', message: this.#waitingFor } });
    }
    const startedAt = this.#startedAt;
    if (!isOver || spec.restartPolicy === 'Always') return played(spec.name, image, { running: { startedAt } });
    return played(spec.name, image, { terminated: { exitCode: 0, reason: 'Completed', startedAt } });
  }
}
