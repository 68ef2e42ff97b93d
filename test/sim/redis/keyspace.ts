import type { RedisArgument } from '@tidemark/runtime';

/** Sorted sets are never changed in place, so that a snapshot is a copy of the map. */
type Value = Buffer | string | ReadonlyMap<string, number>;
type Keyspace = ReadonlyMap<string, Value>;

/** How many of the newest writes a failover can lose. */
const MAX_UNDO = 64;

/**
 * What a Redis holds, and the commands that the scripts of the protocol use. Each {@link transaction} is one call: a failover
 * loses the newest calls as a whole, a snapshot holds all of those before it.
 */
export class RedisData {
  #values = new Map<string, Value>();
  #before: Keyspace[] = [];
  #isChanged = false;

  /** Runs one call; what it wrote can be lost by {@link failOver} afterwards. */
  transaction<T>(call: () => T): T {
    const before = this.#values;
    this.#values = new Map(before);
    this.#isChanged = false;
    const answer = call();
    if (this.#isChanged) this.#before.push(before);
    if (this.#before.length > MAX_UNDO) this.#before.shift();
    return answer;
  }

  get keys(): readonly string[] {
    return [...this.#values.keys()];
  }

  get(key: string): Buffer | string | undefined {
    const value = this.#values.get(key);
    if (value !== undefined && typeof value !== 'string' && !Buffer.isBuffer(value)) throw new Error('WRONGTYPE');
    return value;
  }

  text(key: string): string | undefined {
    return this.get(key)?.toString();
  }

  bytes(key: string): Buffer | undefined {
    const value = this.get(key);
    return typeof value === 'string' ? Buffer.from(value) : value;
  }

  set(key: string, value: Buffer | string): void {
    this.#values.set(key, value);
    this.#isChanged = true;
  }

  /** How many there were. */
  delete(...keys: readonly string[]): number {
    this.#isChanged = true;
    return keys.filter((key) => this.#values.delete(key)).length;
  }

  sortedSet(key: string): ReadonlyMap<string, number> {
    const value = this.#values.get(key) ?? NONE;
    if (typeof value === 'string' || Buffer.isBuffer(value)) throw new Error('WRONGTYPE');
    return value;
  }

  score(key: string, member: string): number | undefined {
    return this.sortedSet(key).get(member);
  }

  /** ZADD GT: scores only grow. */
  raise(key: string, members: Iterable<readonly [member: string, score: number]>): void {
    const set = new Map(this.sortedSet(key));
    for (const [member, score] of members) set.set(member, Math.max(score, set.get(member) ?? score));
    this.#isChanged = true;
    if (set.size > 0) this.#values.set(key, set);
  }

  /** ZPOPMIN; the score of the last that went. */
  popLowest(key: string, count: number): number {
    const ordered = [...this.sortedSet(key)].toSorted(([a, x], [b, y]) => x - y || (a < b ? -1 : 1));
    this.#values.set(key, new Map(ordered.slice(count)));
    return ordered[count - 1]?.[1] ?? 0;
  }

  flush(): void {
    this.#isChanged = true;
    this.#values = new Map();
  }

  /** What {@link restore} brings back. */
  snapshot(): Keyspace {
    return this.#values;
  }

  restore(snapshot: Keyspace): void {
    this.#values = new Map(snapshot);
    this.#before = [];
  }

  /** A replica takes over that has not heard of the newest calls. */
  failOver(lost: number): void {
    for (let i = 0; i < lost; i++)
      this.#values = (this.#before.pop() as Map<string, Value> | undefined) ?? this.#values;
  }

  /** Everything, in a form that can be compared. */
  dump(): Readonly<Record<string, unknown>> {
    return Object.fromEntries(
      [...this.#values]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, value]) => [
          key,
          Buffer.isBuffer(value) ? value.toString('latin1') : value instanceof Map ? scores(value) : value,
        ]),
    );
  }
}

const NONE: ReadonlyMap<string, number> = new Map();

function scores(set: ReadonlyMap<string, number>): Readonly<Record<string, string>> {
  return Object.fromEntries(
    [...set].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([member, score]) => [member, scoreText(score)]),
  );
}

/** As Redis prints it. */
function scoreText(score: number): string {
  return score === Number.POSITIVE_INFINITY ? 'inf' : String(score);
}

/** A text argument of a command. */
export function textOf(argument: RedisArgument | undefined): string {
  return argument === undefined ? '' : argument.toString();
}
