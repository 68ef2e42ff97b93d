import type { Entry, Lsn } from '@tidemark/proto';
import type { Namespace } from './namespace.ts';
import { NamedWrites } from './named-writes.ts';
import type { ReplicaView } from './replica.ts';

/** A write that this sidecar performs, or has performed and not yet heard of from the stream. */
export interface OwnWrite {
  readonly token: string;
  readonly namespace: Namespace;
  readonly key: string;
  readonly epoch: number;
  /** V at its beginning: what its transaction reads reflects every commit up to here (SPEC I3). */
  readonly asOf: Lsn;
}

/** What became of the value of a write. */
export type OwnFate =
  /** Its record came, and nothing else had touched it. */
  | 'kept'
  /** Something else had, or its record came without its mark. */
  | 'evicted'
  /** Something else touched its names while it was written, or nobody can know. */
  | 'spoiled'
  /** Too many were under way: it is evicted when its record comes. */
  | 'forgotten';

interface State extends OwnWrite {
  /** Of the value: those that were known at the beginning, all of them once it is stored. */
  tags: readonly string[];
  /** What was stored of it; undefined while it is written. */
  entry: Entry | undefined;
  /** Its commit position, once the stream has told. */
  position: Lsn | undefined;
  /** Tokens of our own writes of the key that had ended before it began, and of which the stream has not told. It reflects them. */
  readonly after: readonly string[];
  /** Their commit positions, as far as the stream has told. */
  readonly reflected: Set<Lsn>;
  /** Something other than its own commit touched one of its names while it was written. */
  isSpoiled: boolean;
}

/** Writes of one key in a row, of none of which the stream has told. */
const MAX_AFTER = 64;

/**
 * The values of this sidecar's own writes, from before their transaction begins until its record is applied (SPEC I18).
 *
 * A value is stored when COMMIT has answered, as of V at the beginning; by then others may have written the same key, and the
 * stream has told of neither. It tells in commit order, and of the commit position p of a write (its mark) before what its record
 * invalidates. So an invalidation at exactly p is the write's own and spares its value; any other one evicts it as it evicts
 * whatever is there. What is still there when the record is applied was spared by nothing but its own commit, and by those of our
 * writes of the same key whose COMMIT had answered before it began, which its transaction saw.
 *
 * Everything may fail towards eviction: a mark that never comes, a write that is forgotten.
 */
export class OwnWrites {
  /** How many values had which fate. */
  readonly fates: Record<OwnFate, number> = { kept: 0, evicted: 0, spoiled: 0, forgotten: 0 };
  readonly #replica: ReplicaView;
  readonly #most: number;
  readonly #maxBytes: number;
  readonly #byToken = new Map<string, State>();
  /** Those whose value is stored, in that order. */
  readonly #stored = new Set<State>();
  /** Of their values, which live on here when L1 has given them up. */
  #bytes = 0;
  /** By the tokens, not told yet, that a later write of the key comes {@link State.after}. */
  readonly #later = new Map<string, State>();
  readonly #byNamespace = new Map<Namespace, NamedWrites<State>>();
  /** Those whose mark came with the record that is being applied. */
  readonly #arrived = new Set<State>();

  /**
   * @param options.most writes that are remembered; beyond it the oldest is forgotten
   * @param options.maxBytes of their values; likewise
   */
  constructor(options: { replica: ReplicaView; most: number; maxBytes: number }) {
    this.#replica = options.replica;
    this.#most = options.most;
    this.#maxBytes = options.maxBytes;
  }

  /** Writes that are under way or whose record has not come. */
  get size(): number {
    return this.#byToken.size;
  }

  /** To be called before the transaction begins. The token must never repeat. O(names of the write). */
  begin(write: Pick<State, 'token' | 'namespace' | 'key' | 'tags'>): OwnWrite {
    const { epoch, visible: asOf, horizon } = this.#replica;
    const { namespace, key, tags } = write;
    const { rules } = namespace;
    const before = this.#endedBefore(namespace, key, tags);
    const isKnown = rules !== undefined && this.#replica.covers(rules) && asOf >= horizon;
    // What was applied above V before now is not told again; unless all of it was watched, and was our own.
    const isSpoiled = !isKnown || (before === undefined && this.#replica.newestFence(rules, key, tags) > asOf);
    const after =
      before === undefined ? [] : [before.token, ...before.after].filter((each) => this.#isAwaited(each, before));
    const reflected = new Set(before?.reflected);
    if (before?.position !== undefined) reflected.add(before.position);
    const state: State = { ...write, epoch, asOf, entry: undefined, position: undefined, after, reflected, isSpoiled };
    this.#makeRoom();
    this.#byToken.set(state.token, state);
    for (const token of after) this.#later.set(token, state);
    this.#nameOf(state);
    return state;
  }

  /** The write came to an end of which nothing is stored. */
  end({ token }: OwnWrite): void {
    const state = this.#byToken.get(token);
    if (state !== undefined) this.#forget(state);
  }

  /**
   * Whether the value of a committed write may be stored now, and as of when: its own commit position if its record was applied
   * already, else the beginning of the write. Where it may not, the write has come to its end.
   *
   * @param tags of the value; those that were not told at the beginning were not watched, so no fence of theirs may be above it
   */
  admit({ token }: OwnWrite, tags: readonly string[]): Lsn | undefined {
    const state = this.#byToken.get(token);
    if (state === undefined) return undefined;
    if (this.#isUntouched(state, tags)) return state.position ?? state.asOf;
    this.fates.spoiled += 1;
    this.#forget(state);
    return undefined;
  }

  /** The entry is in L1 from now on; to be called in the same tick as {@link admit}. */
  stored({ token }: OwnWrite, entry: Entry): void {
    const state = this.#byToken.get(token);
    if (state === undefined) return;
    if (state.position !== undefined) {
      this.fates.kept += 1;
      this.#forget(state);
      return;
    }
    this.#byNamespace.get(state.namespace)?.delete(state);
    state.entry = entry;
    state.tags = entry.tags;
    this.#nameOf(state);
    this.#stored.add(state);
    this.#bytes += entry.body.length;
    for (const oldest of this.#stored) {
      if (this.#bytes <= this.#maxBytes) break;
      this.fates.forgotten += 1;
      this.#forget(oldest);
    }
  }

  /**
   * The stream tells where a write was committed; before what its record invalidates. Whoever leaves the same mark in another transaction
   * later has changed something that the value does not show.
   *
   * @param isAlone false where a purge stands at the same position: a purge spares nothing
   */
  mark(token: string, lsn: Lsn, isAlone: boolean): void {
    if (!isAlone) return;
    this.#later.get(token)?.reflected.add(lsn);
    this.#later.delete(token);
    const state = this.#byToken.get(token);
    if (state === undefined || state.position !== undefined) return;
    state.position = lsn;
    if (state.entry !== undefined) this.#arrived.add(state);
  }

  /** A key is invalidated; true if what L1 holds under it is to be spared. */
  key(namespace: Namespace, key: string, lsn: Lsn): boolean {
    const states = this.#byNamespace.get(namespace)?.byKey.get(key);
    return states !== undefined && this.#touch(states, lsn).length > 0;
  }

  /** A tag is invalidated; answers the keys whose entries are to be spared. */
  tag(namespace: Namespace, tag: string, lsn: Lsn): readonly string[] {
    const states = this.#byNamespace.get(namespace)?.byTag.get(tag);
    return states === undefined ? NONE : this.#touch(states, lsn).map(({ key }) => key);
  }

  /** Many keys are invalidated at once, all of the namespace unless told: none of them is spared. */
  many(namespace: Namespace, concerns: (key: string) => boolean = () => true): void {
    for (const [key, states] of this.#byNamespace.get(namespace)?.byKey ?? NONE)
      if (concerns(key)) for (const state of states) this.#spoil(state);
  }

  /**
   * A record was applied as a whole. Answers what is still there of the writes that it told of: each entry reflects everything up to
   * W now, because every invalidation of its names up to there was applied, and only its own commit's did not remove it. Likewise of those
   * of which it told nothing although it has come so far: whoever performed them left no mark, and changed nothing that has their names.
   */
  applied(): readonly { readonly namespace: Namespace; readonly key: string; readonly entry: Entry }[] {
    for (const state of this.#stored) {
      if ((state.entry?.loadedAt ?? 0) > this.#replica.applied) break;
      this.#arrived.add(state);
    }
    if (this.#arrived.size === 0) return NONE;
    const kept: { namespace: Namespace; key: string; entry: Entry }[] = [];
    for (const state of this.#arrived) {
      if (this.#byToken.get(state.token) !== state) continue;
      const { namespace, key, entry } = state;
      const isThere = entry !== undefined && namespace.l1.get(key) === entry;
      this.fates[isThere ? 'kept' : 'evicted'] += 1;
      if (isThere) kept.push({ namespace, key, entry });
      this.#forget(state);
    }
    this.#arrived.clear();
    return kept;
  }

  /** The newest write of a key whose value is stored, and whose names are all that a new one has; not after too many others. */
  #endedBefore(namespace: Namespace, key: string, tags: readonly string[]): State | undefined {
    const states = [...(this.#byNamespace.get(namespace)?.byKey.get(key) ?? NONE)];
    const before = states.findLast(({ entry }) => entry !== undefined);
    if (before === undefined || before.after.length >= MAX_AFTER) return undefined;
    return tags.every((tag) => before.tags.includes(tag)) ? before : undefined;
  }

  /** SPEC I5, with the fence of its own commit left out. */
  #isUntouched(
    { namespace: { rules }, key, epoch, asOf, isSpoiled, tags: watched }: State,
    tags: readonly string[],
  ): boolean {
    if (isSpoiled || rules === undefined || !this.#replica.covers(rules)) return false;
    if (epoch !== this.#replica.epoch || asOf < this.#replica.horizon) return false;
    return tags.every((tag) => watched.includes(tag)) || this.#replica.newestFence(rules, key, tags) <= asOf;
  }

  /** Those of them that are to be spared. */
  #touch(states: ReadonlySet<State>, lsn: Lsn): readonly State[] {
    const spared: State[] = [];
    for (const state of states) {
      if (lsn !== state.position && !state.reflected.has(lsn)) this.#spoil(state);
      else if (state.entry !== undefined && state.namespace.l1.get(state.key) === state.entry) spared.push(state);
    }
    return spared;
  }

  /** What is being written will not be stored; what is stored is evicted by whoever calls. */
  #spoil(state: State): void {
    if (state.entry === undefined) state.isSpoiled = true;
    else {
      this.fates.evicted += 1;
      this.#forget(state);
    }
  }

  #makeRoom(): void {
    if (this.#byToken.size < this.#most) return;
    const oldest = this.#byToken.values().next();
    if (oldest.done === true) return;
    this.fates.forgotten += 1;
    this.#forget(oldest.value);
  }

  /** Whether the stream may still tell of a write, or of one that came before it. */
  #isAwaited(token: string, before: State): boolean {
    return token === before.token ? before.position === undefined : this.#later.has(token);
  }

  #nameOf(state: State): void {
    let names = this.#byNamespace.get(state.namespace);
    if (names === undefined) {
      names = new NamedWrites<State>();
      this.#byNamespace.set(state.namespace, names);
    }
    names.add(state);
  }

  #forget(state: State): void {
    this.#byToken.delete(state.token);
    if (this.#stored.delete(state)) this.#bytes -= state.entry?.body.length ?? 0;
    for (const token of state.after) if (this.#later.get(token) === state) this.#later.delete(token);
    const names = this.#byNamespace.get(state.namespace);
    names?.delete(state);
    if (names?.byKey.size === 0) this.#byNamespace.delete(state.namespace);
  }
}

const NONE: readonly never[] = [];
