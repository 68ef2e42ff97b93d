import { createHash } from 'node:crypto';
import { decodeStored, type Entry, type NamespaceRules } from '@tidemark/proto';
import type { MemcachedClient, PackedEntry, PackingCounters, PackingSettings } from '@tidemark/runtime';
import { mayReplace } from '../../core/decide.ts';
import type { Claimable, Clock, L2Failure, L2FillResult, L2Store, UnloggedFound } from '../../core/ports.ts';
import { MemcachedCalls, type MemcachedCounters } from './calls.ts';
import { MemcachedValues } from './values.ts';

/** What a fill does when others fill the same key at the same time: so many rounds, then theirs stays. */
const MAX_ROUNDS = 3;

export interface MemcachedStoreOptions {
  readonly client: MemcachedClient;
  readonly source: string;
  /** How the entries of a namespace lie there; asked whenever one is stored or read. */
  readonly packing: (namespace: string) => PackingSettings;
  /** For each call as a whole, however many commands it takes. */
  readonly deadlineMs: number;
  /** Longest that an item may be, without its key. */
  readonly maxValueBytes: number;
  /** For the deadline and for TTLs; the system's unless told. */
  readonly clock?: Clock;
  /** Told the duration of each command that was answered, in milliseconds. */
  readonly onLatency: (ms: number) => void;
}

/**
 * L2 on memcached, which has no scripts and no fence log, and may lose, keep or bring back anything (SPEC I17). An entry stands
 * under the rules of its namespace and a digest of its key; whether it may be served its reader decides alone, by its `asOf`.
 */
export class MemcachedStore implements L2Store {
  readonly #client: MemcachedClient;
  readonly #source: string;
  readonly #calls: MemcachedCalls;
  readonly #values: MemcachedValues;
  readonly #wallMs: () => number;
  /** What was begun last for a name without coherence, while it is under way: packing takes time, and whoever writes last wins. */
  readonly #latest = new Map<string, symbol>();

  constructor(options: MemcachedStoreOptions) {
    const { client, packing: settings, maxValueBytes, clock } = options;
    this.#client = client;
    this.#source = options.source;
    this.#calls = new MemcachedCalls(options);
    this.#values = new MemcachedValues({ client, calls: this.#calls, settings, maxValueBytes });
    this.#wallMs = () => clock?.wallMs() ?? Date.now();
  }

  get available(): boolean {
    return this.#client.isUp;
  }

  get counters(): MemcachedCounters {
    return this.#calls.counters;
  }

  get packing(): PackingCounters {
    return this.#values.packer.counters;
  }

  read({ name, hashHex }: NamespaceRules, key: string): Promise<UnloggedFound | L2Failure> {
    return this.#calls.inTime(async () => ({
      entry: await this.#read('read', name, entryKey(hashHex, key)),
      context: undefined,
    }));
  }

  fill({ name, hashHex }: NamespaceRules, key: string, entry: Entry): Promise<L2FillResult> {
    return this.#calls.inTime(async () => {
      const packed = await this.#values.pack(name, entry);
      const result = packed === undefined ? 'too-large' : await this.#fill(entryKey(hashHex, key), entry, packed);
      if (packed !== undefined && result !== 'ok') this.#values.discard(packed);
      this.counters.fills.set(result, (this.counters.fills.get(result) ?? 0) + 1);
      return result;
    });
  }

  /** There is no log whose position an entry could take; entries are stored again instead (`fill`), as of W. */
  promote(): Promise<'missing'> {
    return Promise.resolve('missing');
  }

  readPlain(namespace: string, key: string): Promise<Entry | undefined | L2Failure> {
    return this.#calls.inTime(() => this.#read('plain', namespace, this.#plainKey(namespace, key)));
  }

  writePlain(namespace: string, key: string, entry: Entry): Promise<'ok' | L2Failure> {
    return this.#calls.inTime(async () => {
      const name = this.#plainKey(namespace, key);
      const turn = Symbol(name);
      this.#latest.set(name, turn);
      try {
        const packed = await this.#values.pack(namespace, entry);
        const ttlS = this.#ttlS(entry);
        if (packed !== undefined) await this.#values.writeChunks(packed, ttlS);
        if (this.#latest.get(name) !== turn) {
          if (packed !== undefined) this.#values.discard(packed);
        } else if (packed === undefined) await this.#calls.timed('plain', this.#client.delete(name));
        else await this.#calls.timed('plain', this.#client.set(name, packed.envelope, ttlS));
        return 'ok' as const;
      } finally {
        if (this.#latest.get(name) === turn) this.#latest.delete(name);
      }
    });
  }

  deletePlain(namespace: string, key: string): Promise<'ok' | L2Failure> {
    return this.#calls.inTime(async () => {
      const name = this.#plainKey(namespace, key);
      this.#latest.delete(name);
      await this.#calls.timed('plain', this.#client.delete(name));
      return 'ok' as const;
    });
  }

  /** memcached counts whole seconds, and the first of them may be short: a claim lasts up to two seconds longer than asked. */
  claim(
    namespace: Claimable,
    key: string,
    { token, ttlMs }: { readonly token: string; readonly ttlMs: number },
  ): Promise<'granted' | 'taken' | L2Failure> {
    return this.#calls.inTime(async () => {
      const name = this.#claimKey(namespace, key);
      const added = await this.#calls.timed('claim', this.#client.add(name, Buffer.from(token), wholeSeconds(ttlMs)));
      return added ? 'granted' : 'taken';
    });
  }

  release(namespace: Claimable, key: string, token: string): Promise<'released' | 'gone' | L2Failure> {
    return this.#calls.inTime(async () => {
      const name = this.#claimKey(namespace, key);
      const present = await this.#calls.timed('claim', this.#client.gets(name));
      if (present === undefined || present.value.toString() !== token) return 'gone';
      return (await this.#calls.timed('claim', this.#client.deleteIf(name, present.cas))) ? 'released' : 'gone';
    });
  }

  /** Finds out that a memcached that was away answers again. */
  probe(): Promise<void> {
    return this.#calls.timed('probe', this.#client.probe());
  }

  async #read(kind: 'read' | 'plain', namespace: string, name: string): Promise<Entry | undefined> {
    this.counters.reads += 1;
    const found = await this.#calls.timed(kind, this.#client.gets(name));
    return found && this.#values.open(namespace, found.value);
  }

  /** Never in place of a newer one, and never over one that was stored since it was looked at. */
  async #fill(name: string, entry: Entry, packed: PackedEntry): Promise<L2FillResult> {
    const ttlS = this.#ttlS(entry);
    const { envelope } = packed;
    await this.#values.writeChunks(packed, ttlS);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      if (await this.#calls.timed('fill', this.#client.add(name, envelope, ttlS))) return 'ok';
      const present = await this.#calls.timed('fill', this.#client.gets(name));
      if (present === undefined) continue;
      const known = decodeStored(present.value)?.entry;
      if (known !== undefined && !mayReplace(known, entry)) return 'newer';
      const { cas } = present;
      if ((await this.#calls.timed('fill', this.#client.cas(name, envelope, { ttlS, cas }))) === 'stored') {
        this.#values.discardOf(present.value);
        return 'ok';
      }
    }
    return 'contended';
  }

  /** How long it may be of use, however long ago it was stored. */
  #ttlS(entry: Entry): number {
    return wholeSeconds(entry.keepUntilMs - Math.max(entry.storedAtMs, this.#wallMs()));
  }

  #plainKey(namespace: string, key: string): string {
    return `tidemark1:P:${digest(JSON.stringify([this.#source, namespace, key]))}`;
  }

  #claimKey(namespace: Claimable, key: string): string {
    const name = typeof namespace === 'string' ? [this.#source, namespace, key] : [namespace.hashHex, key];
    return `tidemark1:C:${digest(JSON.stringify(name))}`;
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
