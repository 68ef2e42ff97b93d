import { setTimeout as wait } from 'node:timers/promises';
import type { V1Container, V1ContainerState, V1ContainerStatus } from '@kubernetes/client-node';
import { type Child, type Exit, startChild } from '../../child.ts';
import { KitError } from '../../error.ts';
import { LogRing } from '../../log.ts';
import { runProbes } from './probes.ts';

/** kubelet waits 10 s and more; a test has less time. */
const restartAfterMs = 500;

/** What a process of a container is started with. */
export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** The user to run as, where we may choose one. */
  readonly uid: number | undefined;
}

export interface ContainerOptions {
  readonly spec: V1Container;
  /** The pod's restart policy, or Always for a native sidecar. */
  readonly restart: 'Always' | 'OnFailure' | 'Never';
  readonly host: string;
  readonly launch: Launch;
  /** From SIGTERM to SIGKILL when its probes have given it up, in ms. */
  readonly graceMs: number;
  /** Told whenever the status is another. */
  readonly onChange: () => void;
}

/** A container whose process runs here; it is started again as its policy says. */
export class RunningContainer {
  readonly log = new LogRing();
  /** Settles with the last exit, once no other start follows. */
  readonly ended: Promise<Exit>;
  /** Settles once it is started in the sense of its startup probe. */
  readonly started: Promise<void>;
  readonly #options: ContainerOptions;
  readonly #ended = Promise.withResolvers<Exit>();
  readonly #started = Promise.withResolvers<void>();
  #child: Child | undefined;
  #state: V1ContainerState = { waiting: { reason: 'ContainerCreating' } };
  #last: V1ContainerState | undefined;
  #isStarted = false;
  #isReady = false;
  #restarts = 0;
  #stopping = new AbortController();

  constructor(options: ContainerOptions) {
    this.#options = options;
    this.ended = this.#ended.promise;
    this.started = this.#started.promise;
    void this.#run();
  }

  get name(): string {
    return this.#options.spec.name;
  }

  /** The process id; undefined between two runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get restarts(): number {
    return this.#restarts;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** A variable of its environment, as its process has it. */
  env(name: string): string | undefined {
    return this.#options.launch.env[name];
  }

  /** The local address of a port that its process listens on. */
  address(port: number): string {
    return `${this.#options.host}:${port}`;
  }

  /** Its newest log lines, oldest first. */
  logs(count?: number): string[] {
    return this.log.tail(count);
  }

  /** Sends its process a signal, as SIGKILL or SIGSTOP; it comes back as its policy says. */
  signal(signal: NodeJS.Signals): void {
    if (this.#child === undefined) throw new KitError(`container ${this.name} does not run at this moment.`);
    this.#child.signal(signal);
  }

  /** SIGTERM, and after the grace SIGKILL; settles when the process is gone for good. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort();
    const child = this.#child;
    if (child !== undefined) {
      child.signal('SIGTERM');
      child.signal('SIGCONT');
      const timer = setTimeout(() => child.signal('SIGKILL'), graceMs);
      await child.exited;
      clearTimeout(timer);
    }
    await this.ended;
  }

  status(): V1ContainerStatus {
    return {
      name: this.name,
      image: this.#options.spec.image ?? '',
      imageID: '',
      ready: this.#isReady,
      started: this.#isStarted,
      restartCount: this.#restarts,
      state: this.#state,
      ...(this.#last && { lastState: this.#last }),
    };
  }

  async #run(): Promise<void> {
    const { restart, onChange } = this.#options;
    let exit: Exit = { code: 0, signal: null };
    while (!this.#stopping.signal.aborted) {
      exit = await this.#runOnce();
      onChange();
      const isOver = restart === 'Never' || (restart === 'OnFailure' && exit.code === 0);
      if (isOver || this.#stopping.signal.aborted) break;
      await wait(restartAfterMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
      if (this.#stopping.signal.aborted) break;
      this.#last = this.#state;
      this.#restarts += 1;
    }
    this.#started.resolve();
    this.#ended.resolve(exit);
  }

  async #runOnce(): Promise<Exit> {
    const { spec, host, launch, graceMs, onChange } = this.#options;
    let killLater: NodeJS.Timeout | undefined;
    const startedAt = new Date();
    const over = new AbortController();
    const child = startChild({
      ...launch,
      owner: launch.uid === undefined ? undefined : { name: `${launch.uid}`, uid: launch.uid, gid: launch.uid },
      orphanSignal: 'SIGKILL',
      log: this.log,
    });
    this.#child = child;
    this.#state = { running: { startedAt } };
    onChange();
    const probing = runProbes(
      spec,
      host,
      {
        started: () => {
          this.#isStarted = true;
          this.#started.resolve();
          onChange();
        },
        ready: (isReady) => {
          this.#isReady = isReady;
          onChange();
        },
        dead: (reason) => {
          this.log.add(`(kit) ${reason}: SIGTERM`);
          child.signal('SIGTERM');
          killLater = setTimeout(() => child.signal('SIGKILL'), graceMs);
        },
      },
      over.signal,
    ).catch((error: unknown) => this.log.add(`(kit) ${(error as Error).message}`));
    const exit = await child.exited.catch((error: unknown): Exit => {
      this.log.add(`(kit) ${(error as Error).message}`);
      return { code: 127, signal: null };
    });
    over.abort();
    clearTimeout(killLater);
    await probing;
    this.#child = undefined;
    this.#isStarted = false;
    this.#isReady = false;
    this.#state = {
      terminated: {
        startedAt,
        finishedAt: new Date(),
        exitCode: exit.code ?? 137,
        reason: exit.code === 0 ? 'Completed' : 'Error',
      },
    };
    return exit;
  }
}
