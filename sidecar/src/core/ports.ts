import type { Entry, Lsn, NamespaceRules, PurgeRequest } from '@tidemark/proto';
import type { L2Context } from './decide.ts';
import type { Lifetime } from './freshness.ts';
import type { Subject } from './variants.ts';
import type { Position } from './position.ts';

/** The two clocks and the timers; tests pass a hand-driven one. */
export interface Clock {
  /** Milliseconds since some point in the past, never set back: leases, staleness, waiting. */
  monotonicMs(): number;
  /** Milliseconds since 1970, shared with other sidecars through Redis: TTLs. */
  wallMs(): number;
  /** Runs once after a delay. Calling the answer prevents it. */
  after(delayMs: number, run: () => void): () => void;
}

export interface Random {
  /** A text of ASCII letters, digits, `-`, `_` that nobody can guess and that never repeats. */
  token(): string;
  /** At least 0, below 1. */
  fraction(): number;
}

/** Why an entry was pushed out: which limit of its namespace or, for `total_…`, of the process there was no room under. */
export type Displacement = 'bytes' | 'entries' | 'total_bytes' | 'total_entries';

/** Who holds entries in memory that is shared. */
export interface Tenant {
  readonly bytes: number;
  readonly entries: number;
  /** Its weight too: shares are as these are to each other. */
  readonly maxBytes: number;
  /** Gives up one entry. */
  displace(reason: Displacement): void;
}

/** Memory that several share, within limits for all of them together. */
export interface SharedRoom {
  /** It holds so much more, or less if negative. To be told at once. */
  changed(tenant: Tenant, by: { readonly bytes: number; readonly entries: number }): void;
  /** To be called when something was stored: whoever has too much gives it up. */
  settle(): void;
}

/** Entries of one namespace in this process, bounded by bytes and by number; its policy says which of them goes first. */
export interface L1Store {
  readonly maxBytes: number;
  /** What the entries occupy, overhead included. */
  readonly bytes: number;
  readonly entries: number;
  /** What it took so far to let entries go one by one: a step for each, and for each of their tags. */
  readonly steps: number;
  /** How many entries were pushed out for lack of room. */
  readonly displaced: Readonly<Record<Displacement, number>>;
  /** Counts as a use. May answer an entry that has expired. */
  get(key: string): Entry | undefined;
  /** The entries that would be kept longest, at most so many (for LRU: those that were used last); none of it counts as a use. */
  recent(most: number): Iterable<readonly [key: string, entry: Entry]>;
  /** Entries with this tag, at most so many; none of it counts as a use. */
  tagged(tag: string, most: number): Iterable<readonly [key: string, entry: Entry]>;
  /**
   * Counts as a use. False when nothing is held under the key then, because the entry alone is larger than the store, or because
   * the policy would rather keep the others.
   */
  set(key: string, entry: Entry): boolean;
  /**
   * Says the same of a value in other words (another `asOf`), if the entry of before still stands under the key. No use: what is given up
   * first stays what it was. Everything but positions must be the same.
   */
  restate(key: string, entry: { readonly before: Entry; readonly after: Entry }): void;
  /** How many entries went. */
  delete(key: string): number;
  deleteTag(tag: string): number;
  clear(): number;
}

/** What Redis answered for a key. */
export interface L2Found {
  readonly entry: Entry | undefined;
  readonly context: L2Context;
  /** The generation that the entry was looked up under. */
  readonly generation: string;
  /** The entry as it lies there, by which `promote` finds out whether it is still the same. */
  readonly stored?: Uint8Array | undefined;
}

/** What a backend without a fence log answered: its reader alone checks it (SPEC I17). */
export interface UnloggedFound {
  readonly entry: Entry | undefined;
  readonly context: undefined;
}

/** `lost`: an answer came in time but was an error or damaged; `away`: none came in time, or none was asked for. */
export type L2Failure = 'lost' | 'away';
/**
 * As the scripts for fills and promotions say; see proto/src/redis/scripts.ts. Of backends without scripts `contended`: others
 * stored values all the time; `too-large`: more than an item may have there.
 */
export type L2FillResult =
  | 'ok'
  | 'missing'
  | 'changed'
  | 'unknown'
  | 'old'
  | 'fenced'
  | 'newer'
  | 'contended'
  | 'too-large'
  | L2Failure;

/** What a claim is put on: a key of a namespace, named by its rules where it has some, else by its name. */
export type Claimable = NamespaceRules | string;

/** Entries that sidecars share. No call rejects or takes longer than the deadline that the store was made with. */
export interface L2Store {
  /** False while asking would be in vain: the caller treats everything as a miss and does not ask. */
  readonly available: boolean;
  read(namespace: NamespaceRules, key: string): Promise<L2Found | UnloggedFound | L2Failure>;
  fill(namespace: NamespaceRules, key: string, entry: Entry): Promise<L2FillResult>;
  /** Raises an entry as it was read, if it is unchanged, to a position that its log has reached (SPEC I12). */
  promote(namespace: NamespaceRules, key: string, found: L2Found, to: Lsn): Promise<L2FillResult>;
  /** Entries of namespaces that opted out of coherence: no fences, only a TTL. */
  readPlain(namespace: string, key: string): Promise<Entry | undefined | L2Failure>;
  writePlain(namespace: string, key: string, entry: Entry): Promise<'ok' | L2Failure>;
  deletePlain(namespace: string, key: string): Promise<'ok' | L2Failure>;
  /**
   * A claim on a key, which at most one process has until it releases it or its time is over: for sparing work only, because
   * what L2 holds may go at any time. `taken` also for a token that has it already. `ttlMs` is at least 1.
   */
  claim(
    namespace: Claimable,
    key: string,
    claim: { readonly token: string; readonly ttlMs: number },
  ): Promise<'granted' | 'taken' | L2Failure>;
  /** `gone`: the token does not have it, or not any more; what another has stays. */
  release(namespace: Claimable, key: string, token: string): Promise<'released' | 'gone' | L2Failure>;
}

/** Receives one source's records in order. Every call is synchronous. */
export interface FeedListener {
  record(bytes: Uint8Array): void;
  /** Continuity is gone: what comes next is not known to follow what came before. */
  reset(reason: string): void;
  /** The feed was read to its end, and a record was among what it brought, by a request sent at this monotonic time. */
  heard(requestedAtMs: number): void;
}

/** The stream of one source, read from its newest record on, for as long as the process lives. */
export interface Feed {
  start(listener: FeedListener): void;
  stop(): Promise<void>;
}

/** Sends purges into the WAL of the source (SPEC I11). */
export interface PurgeClient {
  /** The commit position of the purge, or why there is none, in words for the caller. Bounded in time; never rejects. */
  purge(request: PurgeRequest): Promise<{ readonly lsn: Lsn } | { readonly failed: string }>;
}

/** Knows how far the database is (`GET /v1/position` of the invalidator). */
export interface PositionClient {
  /**
   * A position at or after every commit that any snapshot saw when this was called, or why there is none, in words. Calls may
   * share an answer. Bounded in time; never rejects.
   */
  position(): Promise<Position | { readonly failed: string }>;
}

/** Why a value could not be loaded. `busy`: too many wait. `open`: the circuit breaker. `changing`: it was invalidated each time. */
export interface LoadFailure {
  readonly why: 'timeout' | 'unavailable' | 'error' | 'too-large' | 'busy' | 'open' | 'changing';
  /** In words for the caller: what was found, what was expected. */
  readonly detail: string;
}

/** What a loader found. Bounds on how old and how new it is as `Source-Lsn` and `Tidemark-Loaded-At` give them. */
export type Loaded =
  | (Lifetime & {
      readonly kind: 'value';
      /** Owned by whoever asked. */
      readonly body: Uint8Array;
      readonly contentType: string;
      readonly tags: readonly string[];
      readonly sourceLsn?: Lsn | undefined;
      readonly loadedAt?: Lsn | undefined;
    })
  | { readonly kind: 'absent'; readonly sourceLsn?: Lsn | undefined; readonly loadedAt?: Lsn | undefined }
  | ({ readonly kind: 'failed' } & LoadFailure);

/** What a loader is asked for. */
export interface LoadRequest extends Subject {
  /** Where the value will be: the key, unless values differ by request headers. */
  readonly address: string;
  /** The newest change of it that is known: what is read where that has not been replayed would not be stored. */
  readonly atLeast?: Lsn | undefined;
  /** Nothing of it is stored, so it may come from a server of which nobody knows yet whether the stream comes from it. */
  readonly isPassed?: boolean;
}

/** Gets a namespace's values from where they are kept. Bounded in time; never rejects. */
export interface Loader {
  /** Whether it loads this key; if not, a caller that misses it does. */
  handles(key: string): boolean;
  /** What it reads must be at least as new as the moment of the call, or say by `sourceLsn` how old it may be. */
  load(request: LoadRequest): Promise<Loaded>;
}
