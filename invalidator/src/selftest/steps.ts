import { setTimeout as sleep } from 'node:timers/promises';
import type { SelftestTable } from '../adapters/postgres-selftest.ts';
import type { CacheAnswer, SidecarClient } from '../adapters/sidecar-client.ts';
import { OperatorError } from '../core/errors.ts';

/** Between looks while something has to come about, ms. */
const POLL_MS = 100;
/** Between looks for the eviction, whose time is measured, ms. */
const FINE_POLL_MS = 1;
/** How often a wait says why it lasts, ms. */
const TELL_MS = 5000;

export interface SelftestOptions {
  readonly sidecar: SidecarClient;
  readonly table: SelftestTable;
  /** Of the row of this run. */
  readonly id: string;
  /** For everything. */
  readonly deadlineMs: number;
  /** What is tested, for messages. */
  readonly about: { readonly url: string; readonly namespace: string; readonly table: string };
  readonly say: (line: string) => void;
}

/** A miss, a fill, a hit, a change, the eviction. Throws {@link OperatorError} that says which step failed, and why. */
export async function runSelftest(options: SelftestOptions): Promise<void> {
  await new Selftest(options).run();
}

class Selftest {
  readonly #options: SelftestOptions;
  readonly #endMs: number;

  constructor(options: SelftestOptions) {
    this.#options = options;
    this.#endMs = performance.now() + options.deadlineMs;
  }

  async run(): Promise<void> {
    const { table, id, about, say } = this.#options;
    await table.insert(id, 'first');
    say(`1. wrote row ${id} to ${about.table}`);
    try {
      const waitedMs = await this.#untilServed();
      say(`2. ${about.url} serves the namespace ${about.namespace} (waited ${(waitedMs / 1000).toFixed(1)} s)`);
      await this.#fill('first');
      say('3. read: a miss with a lease; filled the value; read again: a hit');
      await table.update(id, 'second');
      const evictedMs = await this.#untilEvicted('first');
      say(`4. changed the row: the value was gone ${evictedMs.toFixed(1)} ms after the commit`);
      await this.#fill('second');
      say('5. read: a miss with a lease; filled the new value; read again: a hit');
    } finally {
      await table.remove(id);
    }
    await this.#untilEvicted('second');
    say('6. removed the row: the value was gone as well');
    say('Tidemark works: what is read through this sidecar follows the database.');
  }

  /** A namespace is served once the publisher claims its rules and the sidecar follows it: then misses have leases. */
  async #untilServed(): Promise<number> {
    const startMs = performance.now();
    // Not the row's key, so that the row's first read is a miss that nobody has asked for before.
    await this.#until('a lease in the namespace', ({ lease }) => lease !== undefined, 'is-it-served');
    return performance.now() - startMs;
  }

  async #fill(expected: string): Promise<void> {
    const { sidecar, table, id } = this.#options;
    for (;;) {
      const { lease } = await this.#until('a miss with a lease', (answer) => answer.lease !== undefined);
      const value = await table.load(id);
      if (value !== expected) throw new OperatorError(`the row holds "${value}", expected "${expected}"`);
      const status = await sidecar.put(id, value, lease ?? '');
      if (status === 201 || status === 204) break;
      // The lease may be older than the row's change, which the sidecar is about to hear of.
      if (status !== 409 && status !== 410)
        throw new OperatorError(`the fill was answered with ${status}, expected 201 or 204`);
      this.#checkTime('a fill that is taken', `it was answered with ${status}`);
      await sleep(POLL_MS);
    }
    const answer = await sidecar.get(id);
    if (answer.status !== 200 || answer.body !== expected)
      throw new OperatorError(`after the fill: found ${inWords(answer)}, expected a hit with "${expected}"`);
  }

  /** Answers how long it took, ms. */
  async #untilEvicted(old: string): Promise<number> {
    const committedAtMs = performance.now();
    for (;;) {
      const answer = await this.#options.sidecar.get(this.#options.id);
      if (answer.status !== 200 || answer.body !== old) return performance.now() - committedAtMs;
      this.#checkTime('the eviction of the old value', `it is still served (${answer.cacheStatus})`);
      await sleep(FINE_POLL_MS);
    }
  }

  async #until(
    what: string,
    isSo: (answer: CacheAnswer) => boolean,
    key: string = this.#options.id,
  ): Promise<CacheAnswer> {
    let toldAtMs = performance.now();
    for (;;) {
      let found: string;
      try {
        const answer = await this.#options.sidecar.get(key);
        if (isSo(answer)) return answer;
        found = inWords(answer);
      } catch (error) {
        const { message, cause } = error as Error;
        found = `no answer (${cause instanceof Error ? cause.message : message})`;
      }
      this.#checkTime(what, `found ${found}`);
      if (performance.now() - toldAtMs > TELL_MS) {
        toldAtMs = performance.now();
        this.#options.say(`   waiting for ${what}: ${found}`);
      }
      await sleep(POLL_MS);
    }
  }

  #checkTime(what: string, why: string): void {
    if (performance.now() < this.#endMs) return;
    const { url, namespace, table } = this.#options.about;
    throw new OperatorError(
      `${what} did not come within ${this.#options.deadlineMs / 1000} s: ${why}. Expected the namespace ${namespace} with rule keys ['{id}'] on ${table}, at the sidecar ${url}; the log of the invalidator says what it misses`,
    );
  }
}

function inWords({ status, body, cacheStatus }: CacheAnswer): string {
  const words = cacheStatus === '' ? body.slice(0, 200) : cacheStatus;
  return `status ${status}${words === '' ? '' : `, ${words}`}`;
}
