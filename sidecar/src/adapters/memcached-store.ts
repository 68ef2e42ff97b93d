import { createHash } from 'node:crypto';
import { decodeEntry, encodeEntry, type Entry, type NamespaceRules } from '@tidemark/proto';
import { DeadlineError, Deadlines, MemcachedUnavailableError, type MemcachedClient } from '@tidemark/runtime';
import { mayReplace } from '../core/decide.ts';
import type { Claimable, Clock, L2Failure, L2FillResult, L2Store, UnloggedFound } from '../core/ports.ts';

type Command = 'read' | 'fill' | 'plain' | 'claim' | 'probe';

/** What a fill does when others fill the same key at the same time: so many rounds, then theirs stays. */
const MAX_ROUNDS = 3;

/** What calls to memcached did, for metrics. */
export class MemcachedCounters {
  readonly commands: Record<Command, number> = { read: 0, fill: 0, plain: 0, claim: 0, probe: 0 };
  readonly failures = { deadline: 0, unavailable: 0, error: 0, damaged: 0 };
  readonly fills = new Map<string, number>();
}

export interface MemcachedStoreOptions {
  readonly client: MemcachedClient;
  readonly source: string;
  /** For each call as a whole, however many commands it takes. */
  readonly deadlineMs: number;
  /** Longest value, envelope and all: larger ones are not shared. */
  readonly maxValueBytes: number;
  /** For the deadline and for TTLs; the system's unless told. */
  readonly clock?: Clock;
  /** Told the duration of each call that was answered, in milliseconds. */
  readonly onLatency: (ms: number) => void;
}

/**
 * L2 on memcached, which has no scripts and no fence log, and may lose, keep or bring back anything (SPEC I17). An entry stands
 * under the rules of its namespace and a digest of its key; whether it may be served its reader decides alone, by its `asOf`.
 */
export class MemcachedStore implements L2Store {
  readonly counters = new MemcachedCounters();
  readonly #client: MemcachedClient;
  readonly #source: string;
  readonly #maxValueBytes: number;
  readonly #onLatency: (ms: number) => void;
  readonly #deadlines: Deadlines;
  readonly #wallMs: () => number;

  constructor(options: MemcachedStoreOptions) {
    this.#client = options.client;
    this.#source = options.source;
    this.#maxValueBytes = options.maxValueBytes;
    this.#onLatency = options.onLatency;
    this.#deadlines = new Deadlines('memcached', options.deadlineMs, options.clock);
    this.#wallMs = () => options.clock?.wallMs() ?? Date.now();
  }

  get available(): boolean {
    return this.#client.isUp;
  }

  read({ hashHex }: NamespaceRules, key: string): Promise<UnloggedFound | L2Failure> {
    return this.#inTime('read', async () => ({
      entry: this.#decode((await this.#client.gets(entryKey(hashHex, key)))?.value),
      context: undefined,
    }));
  }

  async fill({ hashHex }: NamespaceRules, key: string, entry: Entry): Promise<L2FillResult> {
    const bytes = encodeEntry(entry);
    const result =
      bytes.length > this.#maxValueBytes
        ? 'too-large'
        : await this.#inTime('fill', () => this.#fill(entryKey(hashHex, key), entry, bytes));
    this.counters.fills.set(result, (this.counters.fills.get(result) ?? 0) + 1);
    return result;
  }

  /** There is no log whose position an entry could take; entries are stored again instead (`fill`), as of W. */
  promote(): Promise<'missing'> {
    return Promise.resolve('missing');
  }

  readPlain(namespace: string, key: string): Promise<Entry | undefined | L2Failure> {
    return this.#inTime('plain', async () =>
      this.#decode((await this.#client.gets(this.#plainKey(namespace, key)))?.value),
    );
  }

  writePlain(namespace: string, key: string, entry: Entry): Promise<'ok' | L2Failure> {
    const bytes = encodeEntry(entry);
    // What others would still find under the key is as good as before: nothing but a TTL was promised.
    if (bytes.length > this.#maxValueBytes) return Promise.resolve('ok');
    return this.#inTime('plain', async () => {
      await this.#client.set(this.#plainKey(namespace, key), bytes, this.#ttlS(entry));
      return 'ok' as const;
    });
  }

  deletePlain(namespace: string, key: string): Promise<'ok' | L2Failure> {
    return this.#inTime('plain', async () => {
      await this.#client.delete(this.#plainKey(namespace, key));
      return 'ok' as const;
    });
  }

  /** memcached counts whole seconds, and the first of them may be short: a claim lasts up to two seconds longer than asked. */
  claim(
    namespace: Claimable,
    key: string,
    { token, ttlMs }: { readonly token: string; readonly ttlMs: number },
  ): Promise<'granted' | 'taken' | L2Failure> {
    return this.#inTime('claim', async () =>
      (await this.#client.add(this.#claimKey(namespace, key), Buffer.from(token), wholeSeconds(ttlMs)))
        ? 'granted'
        : 'taken',
    );
  }

  release(namespace: Claimable, key: string, token: string): Promise<'released' | 'gone' | L2Failure> {
    return this.#inTime('claim', async () => {
      const name = this.#claimKey(namespace, key);
      const present = await this.#client.gets(name);
      if (present === undefined || present.value.toString() !== token) return 'gone';
      return (await this.#client.deleteIf(name, present.cas)) ? 'released' : 'gone';
    });
  }

  /** Finds out that a memcached that was away answers again. */
  probe(): Promise<void> {
    this.counters.commands.probe += 1;
    return this.#client.probe();
  }

  /** Never in place of a newer one, and never over one that was stored since it was looked at. */
  async #fill(name: string, entry: Entry, bytes: Uint8Array): Promise<L2FillResult> {
    const seconds = this.#ttlS(entry);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      if (await this.#client.add(name, bytes, seconds)) return 'ok';
      const present = await this.#client.gets(name);
      if (present === undefined) continue;
      const known = this.#decode(present.value);
      if (known !== undefined && !mayReplace(known, entry)) return 'newer';
      if ((await this.#client.cas(name, bytes, { ttlS: seconds, cas: present.cas })) === 'stored') return 'ok';
    }
    return 'contended';
  }

  /** Not damaged, and of this version; what else it says its reader judges. */
  #decode(bytes: Buffer | undefined): Entry | undefined {
    if (bytes === undefined) return undefined;
    const entry = decodeEntry(bytes);
    if (entry === undefined) this.counters.failures.damaged += 1;
    return entry;
  }

  #plainKey(namespace: string, key: string): string {
    return `tidemark1:P:${digest(JSON.stringify([this.#source, namespace, key]))}`;
  }

  #claimKey(namespace: Claimable, key: string): string {
    const name = typeof namespace === 'string' ? [this.#source, namespace, key] : [namespace.hashHex, key];
    return `tidemark1:C:${digest(JSON.stringify(name))}`;
  }

  /** What is left of its TTL, however long ago it was stored. */
  #ttlS(entry: Entry): number {
    return wholeSeconds(entry.keepUntilMs - Math.max(entry.storedAtMs, this.#wallMs()));
  }

  async #inTime<T>(command: Command, work: () => Promise<T>): Promise<T | L2Failure> {
    this.counters.commands[command] += 1;
    const startedAtMs = performance.now();
    try {
      const answer = await this.#deadlines.race(work());
      this.#onLatency(performance.now() - startedAtMs);
      return answer;
    } catch (error) {
      return this.#failed(error);
    }
  }

  #failed(error: unknown): L2Failure {
    const { failures } = this.counters;
    if (error instanceof DeadlineError) failures.deadline += 1;
    else if (error instanceof MemcachedUnavailableError) failures.unavailable += 1;
    else {
      failures.error += 1;
      return 'lost';
    }
    return 'away';
  }
}

function entryKey(hashHex: string, key: string): string {
  return `tidemark1:${hashHex}:${digest(key)}`;
}

/** Of memcached's keys the length and the characters are limited, ours may be anything: no two texts are known with one SHA-256. */
function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

/** memcached's clock ticks once a second, so that of the first second anything may have passed. */
function wholeSeconds(ms: number): number {
  return Math.ceil(Math.max(0, ms) / 1000) + 1;
}
