import { MemcachedUnavailableError, type MemcachedClient, type MemcachedValue } from '@tidemark/runtime';

interface Item {
  readonly value: Buffer;
  readonly cas: number;
}

/** What memcached does with the commands of its client, but for time: test/contract/memcached.test.ts compares it with a real one. */
export class MemcachedModel {
  #items = new Map<string, Item>();
  #stored = 0;
  readonly #onReplace: (before: Buffer, after: Buffer) => void;

  /** @param onReplace told whenever a value takes the place of another */
  constructor(onReplace: (before: Buffer, after: Buffer) => void = () => undefined) {
    this.#onReplace = onReplace;
  }

  get keys(): readonly string[] {
    return [...this.#items.keys()];
  }

  gets(key: string): MemcachedValue | undefined {
    const item = this.#items.get(key);
    return item && { value: item.value, cas: String(item.cas) };
  }

  add(key: string, value: Uint8Array): boolean {
    if (this.#items.has(key)) return false;
    this.set(key, value);
    return true;
  }

  set(key: string, value: Uint8Array): void {
    const before = this.#items.get(key);
    const after = Buffer.from(value);
    this.#stored += 1;
    this.#items.set(key, { value: after, cas: this.#stored });
    if (before !== undefined) this.#onReplace(before.value, after);
  }

  cas(key: string, value: Uint8Array, cas: string): 'stored' | 'changed' | 'missing' {
    const item = this.#items.get(key);
    if (item === undefined) return 'missing';
    if (String(item.cas) !== cas) return 'changed';
    this.set(key, value);
    return 'stored';
  }

  delete(key: string): boolean {
    return this.#items.delete(key);
  }

  deleteIf(key: string, cas: string): boolean {
    return String(this.#items.get(key)?.cas) === cas && this.#items.delete(key);
  }

  /** `flush_all`, or a restart. */
  flush(): void {
    this.#items.clear();
  }

  /** Another server of the list answers from now on, with what it had when it went: call the result to make it so. */
  keepForLater(): () => void {
    const items = new Map(this.#items);
    return () => void (this.#items = items);
  }
}

/** A client of the model. `later` decides when each command is done, and when, if at all, its answer comes. */
export function clientOf(
  model: MemcachedModel,
  later: <T>(work: () => T) => Promise<T> = async (work) => work(),
): MemcachedClient {
  return {
    isUp: true,
    gets: (key) => later(() => model.gets(key)),
    add: (key, value) => later(() => model.add(key, value)),
    set: (key, value) => later(() => model.set(key, value)),
    cas: (key, value, { cas }) => later(() => model.cas(key, value, cas)),
    delete: (key) => later(() => model.delete(key)),
    deleteIf: (key, cas) => later(() => model.deleteIf(key, cas)),
    probe: () => Promise.resolve(),
    close: () => undefined,
  };
}

export function lost(): MemcachedUnavailableError {
  return new MemcachedUnavailableError('the dice said so');
}
