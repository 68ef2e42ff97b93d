import { setTimeout as wait } from 'node:timers/promises';
import type { ProcessEvent, ProcessHandle, Stack } from '../../test/kit/index.ts';
import type { Part, PartState } from './view.ts';

const betweenMs = 400;
const patienceMs = 2_000;
/** Heartbeats move a watermark every second: one that stands for longer has lost touch, and its last lag says nothing. */
const standstillMs = 1_500;

const titles: Readonly<Record<string, string>> = { postgres: 'Postgres', kafka: 'Kafka', redis: 'Redis' };

/** The name of a process, as it is shown. */
export function titleOf(name: string): string {
  return titles[name] ?? name;
}

/** What the demo reads of a sidecar's /v1/status. */
interface SidecarStatus {
  readonly sources: Readonly<
    Record<string, { readonly state: string; readonly applied: string; readonly lagMs: number | null }>
  >;
  readonly l2: { readonly state: string };
}

/** What a service said of itself when it was last asked. */
interface Said {
  readonly working: boolean;
  readonly note: string;
  readonly lagMs: number | undefined;
  readonly applied: string | undefined;
}

/** The states of all processes, by their ids and by what they say of themselves. */
export class Parts {
  readonly #stack: Stack;
  /** Names of processes that the kit has seen ready. */
  readonly #ready: Set<string>;
  readonly #paused = new Set<string>();
  /** By name; nothing of one that did not answer. */
  readonly #said = new Map<string, Said>();
  /** Watermarks by sidecar, and when each was first seen where it is. */
  readonly #applied = new Map<string, { readonly lsn: string; readonly sinceMs: number }>();

  constructor(stack: Stack) {
    this.#stack = stack;
    this.#ready = new Set(
      [...this.#servers(), stack.invalidator, stack.applier, ...stack.sidecars].map(({ name }) => name),
    );
  }

  #servers(): ProcessHandle[] {
    const { postgres, kafka, redis } = this.#stack.servers;
    return [postgres, kafka, redis];
  }

  /** Takes what the kit tells of its processes. */
  event({ kind, name }: ProcessEvent): void {
    if (kind === 'ready') this.#ready.add(name);
    else this.#ready.delete(name);
  }

  pause(handle: ProcessHandle): void {
    this.#paused.add(handle.name);
    handle.pause();
  }

  resume(handle: ProcessHandle): void {
    this.#paused.delete(handle.name);
    if (handle.pid !== undefined) handle.resume();
  }

  /** Asks every service how it is, a few times a second, until told to stop. */
  async watch(signal: AbortSignal): Promise<void> {
    const { invalidator, applier, sidecars, source } = this.#stack;
    await Promise.all([
      ...[invalidator, applier].map(({ name, url }) =>
        this.#keepAsking(name, signal, (patience) => askService(url, patience)),
      ),
      ...sidecars.map(({ name, admin }) =>
        this.#keepAsking(name, signal, (patience) => askSidecar(`${admin}/v1/status`, source, patience)),
      ),
    ]);
  }

  async #keepAsking(name: string, signal: AbortSignal, ask: (patience: AbortSignal) => Promise<Said>): Promise<void> {
    while (!signal.aborted) {
      try {
        const said = await ask(AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]));
        this.#said.set(name, said);
        const { applied } = said;
        if (applied !== undefined && applied !== this.#applied.get(name)?.lsn) {
          this.#applied.set(name, { lsn: applied, sinceMs: performance.now() });
        }
      } catch {
        this.#said.delete(name);
      }
      await wait(betweenMs, undefined, { signal }).catch(() => undefined);
    }
  }

  list(): Part[] {
    const { invalidator, applier, sidecars } = this.#stack;
    return [
      ...this.#servers().map((server) => ({
        name: titleOf(server.name),
        state: this.#stateOfServer(server),
        note: server.owned ? '' : 'yours',
      })),
      ...[invalidator, applier, ...sidecars].map((service) => ({
        name: service.name,
        state: this.#stateOfService(service),
        note: this.#said.get(service.name)?.note ?? '',
      })),
    ];
  }

  #stateOfServer({ name, owned, pid }: ProcessHandle): PartState {
    if (!owned) return 'up';
    if (pid === undefined) return 'down';
    return this.#ready.has(name) ? 'up' : 'starting';
  }

  #stateOfService({ name, pid }: ProcessHandle): PartState {
    if (pid === undefined) return 'down';
    if (this.#paused.has(name)) return 'paused';
    if (!this.#ready.has(name)) return 'starting';
    const said = this.#said.get(name);
    if (said === undefined) return 'silent';
    return said.working ? 'up' : 'waiting';
  }

  /** How far each sidecar's watermark is behind; undefined for one that does not say. */
  lags(nowMs: number): { readonly name: string; readonly lagMs: number | undefined }[] {
    return this.#stack.sidecars.map(({ name }) => {
      const standingMs = nowMs - (this.#applied.get(name)?.sinceMs ?? nowMs);
      return { name, lagMs: standingMs > standstillMs ? standingMs : this.#said.get(name)?.lagMs };
    });
  }
}

async function askService(url: string, signal: AbortSignal): Promise<Said> {
  const response = await fetch(`${url}/readyz`, { signal });
  await response.body?.cancel();
  return { working: response.ok, note: '', lagMs: undefined, applied: undefined };
}

async function askSidecar(url: string, sourceName: string, signal: AbortSignal): Promise<Said> {
  const response = await fetch(url, { signal });
  const { sources, l2 } = (await response.json()) as SidecarStatus;
  const source = sources[sourceName];
  const state = source?.state ?? 'unknown';
  return {
    working: state === 'live',
    note: `${state}, L2 ${l2.state}`,
    lagMs: source?.lagMs ?? undefined,
    applied: source?.applied,
  };
}
