import type { ProcessEvent, ProcessHandle, Stack } from '../../test/kit/index.ts';
import type { Part, PartState } from './view.ts';

const patienceMs = 400;

const titles: Readonly<Record<string, string>> = { postgres: 'Postgres', kafka: 'Kafka', redis: 'Redis' };

/** The name of a process, as it is shown. */
export function titleOf(name: string): string {
  return titles[name] ?? name;
}

/** What the demo reads of a sidecar's /v1/status. */
export interface SidecarStatus {
  readonly sources: Readonly<Record<string, { readonly state: string; readonly lagMs: number | null }>>;
  readonly l2: { readonly state: string };
}

/** The states of all processes, by their ids and by what they say of themselves. */
export class Parts {
  readonly #stack: Stack;
  readonly #ready = new Set<string>();
  readonly #paused = new Set<string>();
  /** Services that answered that they do their job. */
  readonly #atWork = new Set<string>();
  readonly #statuses = new Map<string, SidecarStatus>();

  constructor(stack: Stack) {
    this.#stack = stack;
    for (const { name } of this.#handles()) this.#ready.add(name);
  }

  #handles(): ProcessHandle[] {
    const { servers, invalidator, applier, sidecars } = this.#stack;
    return [servers.postgres, servers.kafka, servers.redis, invalidator, applier, ...sidecars];
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

  /** Asks all services how they are; settles when each has answered or had its time. */
  async poll(): Promise<void> {
    const { invalidator, applier, sidecars } = this.#stack;
    const services = [invalidator, applier].map(async ({ name, url }) => {
      const ready = await ask(`${url}/readyz`, async ({ ok }) => ok);
      if (ready === true) this.#atWork.add(name);
      else this.#atWork.delete(name);
    });
    const statuses = sidecars.map(async ({ name, admin }) => {
      const status = await ask(`${admin}/v1/status`, (response) => response.json() as Promise<SidecarStatus>);
      if (status === undefined) this.#statuses.delete(name);
      else this.#statuses.set(name, status);
    });
    await Promise.all([...services, ...statuses]);
  }

  list(): Part[] {
    const { servers, invalidator, applier, sidecars, source } = this.#stack;
    return [
      ...[servers.postgres, servers.kafka, servers.redis].map((handle) =>
        this.#part(handle, true, handle.owned ? '' : 'yours'),
      ),
      ...[invalidator, applier].map((handle) => this.#part(handle, this.#atWork.has(handle.name), '')),
      ...sidecars.map((handle) => {
        const status = this.#statuses.get(handle.name);
        const state = status?.sources[source]?.state;
        return this.#part(
          handle,
          state === 'live',
          status === undefined ? '' : `${state ?? 'unknown'}, L2 ${status.l2.state}`,
        );
      }),
    ];
  }

  #part(handle: ProcessHandle, atWork: boolean, note: string): Part {
    return { name: titleOf(handle.name), state: this.#state(handle, atWork), note };
  }

  #state(handle: ProcessHandle, atWork: boolean): PartState {
    if (!handle.owned) return 'up';
    if (handle.pid === undefined) return 'down';
    if (this.#paused.has(handle.name)) return 'paused';
    return this.#ready.has(handle.name) && atWork ? 'up' : 'waiting';
  }

  /** How far each sidecar's watermark is behind; undefined for one that does not say. */
  lags(): { readonly name: string; readonly lagMs: number | undefined }[] {
    const { sidecars, source } = this.#stack;
    return sidecars.map(({ name }) => ({ name, lagMs: this.#statuses.get(name)?.sources[source]?.lagMs ?? undefined }));
  }
}

async function ask<T>(url: string, read: (response: Response) => Promise<T>): Promise<T | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(patienceMs) });
    const answer = await read(response);
    return answer;
  } catch {
    return undefined;
  }
}
