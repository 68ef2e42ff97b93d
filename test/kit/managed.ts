import { setTimeout as wait } from 'node:timers/promises';
import { type Child, type Exit, signalIfThere } from './child.ts';
import { KitError } from './error.ts';
import { type ProcessEvent, type ProcessHandle, describeExit } from './handle.ts';
import { LogRing } from './log.ts';
import { descendants, waitUntilStill } from './tree.ts';

export interface ManagedSpec {
  readonly name: string;
  /** Starts the program. `ready` settles once it does its job; it rejects when it never will. */
  readonly launch: (log: LogRing) => { readonly child: Child; readonly ready: Promise<void> };
  /** What a stop sends first. */
  readonly stopSignal: NodeJS.Signals;
  /** How long a stop waits before SIGKILL, in ms. */
  readonly graceMs: number;
  /** How long the first start may take, in ms. */
  readonly startTimeoutMs: number;
  /** How long a later start may take, in ms (like the first, unless told): it may have to wait for a server that is away. */
  readonly restartTimeoutMs?: number;
  /** Whether it is started again when it dies (as Kubernetes would), until `hold` or `stop`. */
  readonly supervise: boolean;
  /** Whether SIGSTOP must also reach its descendants (Postgres works in child processes). */
  readonly hasWorkers?: boolean;
  /** How often a start is tried before it counts as failed. */
  readonly startAttempts?: number;
  /** Called between failed attempts of the very first start: choose other ports. */
  readonly beforeRetry?: () => Promise<void>;
  /** Called once, after it was stopped for good: remove its data. */
  readonly afterStop?: () => Promise<void>;
  readonly onEvent?: ((event: ProcessEvent) => void) | undefined;
}

const firstBackoffMs = 50;
const maxBackoffMs = 5_000;
/** A process that was ready for this long has recovered: its next death starts the backoff anew. */
const settledMs = 5_000;

export class ManagedProcess implements ProcessHandle {
  readonly owned = true;
  readonly log = new LogRing();
  readonly exits: Exit[] = [];
  readonly #spec: ManagedSpec;
  #child: Child | undefined;
  #starting: Promise<void> | undefined;
  #supervised: boolean;
  #stopping = false;
  #ended = false;
  #starts = 0;
  #readyAt = 0;
  #backoffMs = firstBackoffMs;

  constructor(spec: ManagedSpec) {
    this.#spec = spec;
    this.#supervised = spec.supervise;
  }

  get name(): string {
    return this.#spec.name;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get starts(): number {
    return this.#starts;
  }

  start(): Promise<void> {
    if (this.#ended) return Promise.reject(new KitError(`${this.name} was stopped for good.`));
    if (this.#starting !== undefined) return this.#starting;
    if (this.#child !== undefined) return Promise.resolve();
    this.#starting = this.#startWithRetries().finally(() => {
      this.#starting = undefined;
    });
    this.#starting.catch(() => undefined);
    return this.#starting;
  }

  async #startWithRetries(): Promise<void> {
    const attempts = this.#spec.startAttempts ?? 5;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#startOnce();
        return;
      } catch (error) {
        if (attempt >= attempts || this.#stopping || this.#ended) throw error;
        await wait(Math.min(firstBackoffMs * 2 ** attempt, maxBackoffMs));
        if (this.#stopping || this.#ended) throw error;
        if (this.#starts === 0) await this.#spec.beforeRetry?.();
      }
    }
  }

  async #startOnce(): Promise<void> {
    const { child, ready } = this.#spec.launch(this.log);
    ready.catch(() => undefined);
    this.#child = child;
    void child.exited.then(
      (exit) => this.#onExit(child, exit),
      () => {
        this.#child = undefined;
      },
    );
    const timeout = new AbortController();
    const timeoutMs =
      this.#starts === 0 ? this.#spec.startTimeoutMs : (this.#spec.restartTimeoutMs ?? this.#spec.startTimeoutMs);
    try {
      await Promise.race([
        ready,
        child.exited.then((exit) => {
          throw new KitError(
            `${this.name} ended before it was ready (${describeExit(exit)}). Its last lines:\n${this.#tail()}`,
          );
        }),
        wait(timeoutMs, undefined, { signal: timeout.signal }).then(() => {
          throw new KitError(
            `${this.name} was not ready within ${timeoutMs / 1000} s. Its last lines:\n${this.#tail()}`,
          );
        }),
      ]);
    } catch (error) {
      if (this.#child === child) await this.#end(child, 'SIGKILL');
      throw error;
    } finally {
      timeout.abort();
    }
    this.#starts += 1;
    this.#readyAt = Date.now();
    this.#spec.onEvent?.({ kind: 'ready', name: this.name, pid: child.pid, starts: this.#starts });
  }

  #tail(): string {
    return this.log.tail(20).join('\n');
  }

  #onExit(child: Child, exit: Exit): void {
    if (this.#child === child) this.#child = undefined;
    this.exits.push(exit);
    const willRestart = this.#supervised && !this.#stopping && !this.#ended && this.#starting === undefined;
    this.#spec.onEvent?.({ kind: 'exit', name: this.name, pid: child.pid, exit, willRestart });
    if (willRestart) void this.#bringBack();
  }

  async #bringBack(): Promise<void> {
    if (Date.now() - this.#readyAt > settledMs) this.#backoffMs = firstBackoffMs;
    while (this.#supervised && !this.#stopping && !this.#ended && this.#child === undefined) {
      await wait(this.#backoffMs);
      this.#backoffMs = Math.min(this.#backoffMs * 2, maxBackoffMs);
      if (!this.#supervised || this.#stopping || this.#ended) return;
      try {
        await this.start();
        return;
      } catch (error) {
        this.log.add(`(kit) ${(error as Error).message.split('\n')[0] ?? ''}`);
      }
    }
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    const child = this.#child;
    if (child === undefined) throw new KitError(`${this.name} is not running.`);
    const workers = this.#workers(child.pid);
    child.signal(signal);
    // Paused workers would otherwise outlive their parent and keep its data in use.
    for (const worker of workers) signalIfThere(worker, 'SIGCONT');
    return child.exited;
  }

  #workers(pid: number): number[] {
    return this.#spec.hasWorkers === true ? descendants(pid) : [];
  }

  pause(): void {
    this.#signalAll('SIGSTOP');
    const { pid } = this;
    if (pid !== undefined) for (const each of [pid, ...this.#workers(pid)]) waitUntilStill(each);
  }

  resume(): void {
    this.#signalAll('SIGCONT');
  }

  #signalAll(signal: NodeJS.Signals): void {
    const child = this.#child;
    if (child === undefined) throw new KitError(`${this.name} is not running.`);
    child.signal(signal);
    for (const worker of this.#workers(child.pid)) signalIfThere(worker, signal);
  }

  async restart(signal?: NodeJS.Signals): Promise<void> {
    await this.#whileStopped(signal ?? this.#spec.stopSignal, async () => undefined);
    await this.start();
  }

  /** Ends it with SIGKILL, does something to its data, and starts it again; settles when it is ready. */
  async whileDown(work: () => Promise<void>): Promise<void> {
    await this.#whileStopped('SIGKILL', work);
    await this.start();
  }

  async #whileStopped(signal: NodeJS.Signals, work: () => Promise<void>): Promise<void> {
    this.#stopping = true;
    try {
      if (this.#child !== undefined) await this.#end(this.#child, signal);
      await this.#starting?.catch(() => undefined);
      await work();
    } finally {
      this.#stopping = false;
    }
  }

  async #end(child: Child, signal: NodeJS.Signals): Promise<void> {
    const workers = this.#workers(child.pid);
    child.signal(signal);
    // What was paused must be woken to see its signal.
    child.signal('SIGCONT');
    for (const worker of workers) signalIfThere(worker, 'SIGCONT');
    const timer = new AbortController();
    const late = wait(this.#spec.graceMs, 'late' as const, { signal: timer.signal }).catch(() => 'late' as const);
    const first = await Promise.race([child.exited, late]);
    timer.abort();
    if (first === 'late') {
      this.log.add(`(kit) ${this.name} did not end within ${this.#spec.graceMs} ms of ${signal}: SIGKILL`);
      child.signal('SIGKILL');
      await child.exited;
    }
  }

  hold(): void {
    this.#supervised = false;
  }

  release(): Promise<void> {
    this.#supervised = this.#spec.supervise;
    this.#backoffMs = firstBackoffMs;
    return this.start();
  }

  async ready(): Promise<void> {
    if (this.#child !== undefined && this.#starting === undefined) return;
    await this.start();
  }

  async stop(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#whileStopped(this.#spec.stopSignal, async () => this.#spec.afterStop?.());
  }

  logs(count?: number): string[] {
    return this.log.tail(count);
  }
}

/** Starts a process for the first time; where that fails, nothing of it stays behind. */
export async function startOrRemove(handle: ProcessHandle): Promise<void> {
  try {
    await handle.start();
  } catch (error) {
    await handle.stop();
    throw error;
  }
}

/** What a server is made of: how to launch it, where it listens, what to remove in the end. */
export interface Program {
  /** The port of its next launch. */
  readonly port: () => number;
  /** Takes other ports. */
  readonly choosePorts: () => Promise<void>;
  readonly launch: ManagedSpec['launch'];
  readonly remove: () => Promise<void>;
}

/** Starts a server for the first time, on other ports when somebody has just taken those that were free. */
export async function startServer(
  program: Program,
  spec: Omit<ManagedSpec, 'launch' | 'beforeRetry' | 'afterStop'>,
): Promise<ManagedProcess> {
  const server = new ManagedProcess({
    ...spec,
    launch: program.launch,
    beforeRetry: program.choosePorts,
    afterStop: program.remove,
  });
  await startOrRemove(server);
  return server;
}
