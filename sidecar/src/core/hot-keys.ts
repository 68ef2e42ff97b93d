/** Reads between two samples, on average. */
const MEAN_STEP = 16;
/** Counts are halved after so many samples a counter, so that what was hot once makes room. */
const SAMPLES_PER_COUNTER = 8;

interface Counter {
  key: string;
  /** At least as often as the key was sampled. */
  count: number;
  /** By how much `count` may be too high: what the key had whose counter it took over. */
  error: number;
}

/**
 * The keys of a namespace that are read most, in bounded memory: SpaceSaving (Metwally, Agrawal, El Abbadi, "Efficient Computation of
 * Frequent and Top-k Elements in Data Streams", ICDT 2005) over a sample of the reads. With c counters every key that makes up more
 * than 1/c of the samples has one. The steps between samples are random, so that a program that reads keys in turn does not have
 * the same one counted always. Not thread-safe, O(log c) a sample, nothing to do for all other reads:
 *
 *     if (--hot.countdown < 0) hot.sample(key);
 */
export class HotKeys {
  /** Reads until the next sample. */
  countdown = MEAN_STEP;
  readonly #most: number;
  readonly #places = new Map<string, number>();
  /** A binary heap, the least count first. */
  readonly #heap: Counter[] = [];
  #samples = 0;
  #random = 0x9e3779b9;
  #hottest: { readonly of: number; readonly atSample: number; readonly keys: ReadonlySet<string> } | undefined;

  /** @param most counters; several times as many as keys are asked for. */
  constructor(most = 2_048) {
    this.#most = most;
  }

  /** Keys that have a counter. */
  get size(): number {
    return this.#heap.length;
  }

  /** Counts a key that was read, and draws when the next one is. O(log c) amortized. */
  sample(key: string): void {
    this.countdown = this.#draw(2 * MEAN_STEP);
    const place = this.#places.get(key);
    if (place !== undefined) {
      (this.#heap[place] as Counter).count += 1;
      this.#sink(place);
    } else if (this.#heap.length < this.#most) {
      this.#heap.push({ key, count: 1, error: 0 });
      this.#places.set(key, this.#heap.length - 1);
      this.#rise(this.#heap.length - 1);
    } else {
      const least = this.#heap[0] as Counter;
      this.#places.delete(least.key);
      this.#heap[0] = { key, count: least.count + 1, error: least.count };
      this.#places.set(key, 0);
      this.#sink(0);
    }
    this.#samples += 1;
    if (this.#samples % (this.#most * SAMPLES_PER_COUNTER) === 0) this.#age();
  }

  /** At most so many keys, the hottest first; those of which it is sure that they were sampled. O(c log c). */
  hottest(most: number): readonly string[] {
    return this.#heap
      .toSorted((a, b) => b.count - b.error - (a.count - a.error))
      .slice(0, most)
      .map(({ key }) => key);
  }

  /** Whether a key is among so many of the hottest, as of a few samples ago. O(1) amortized. */
  isAmong(key: string, most: number): boolean {
    const known = this.#hottest;
    if (known !== undefined && known.of === most && this.#samples - known.atSample <= this.#heap.length / 8)
      return known.keys.has(key);
    const keys = new Set(this.hottest(most));
    this.#hottest = { of: most, atSample: this.#samples, keys };
    return keys.has(key);
  }

  /** Halving keeps the order of the heap. */
  #age(): void {
    const kept = this.#heap.splice(0).filter(({ count }) => count > 1);
    this.#places.clear();
    for (const counter of kept) {
      counter.count = Math.floor(counter.count / 2);
      counter.error = Math.floor(counter.error / 2);
      this.#heap.push(counter);
      this.#places.set(counter.key, this.#heap.length - 1);
      this.#rise(this.#heap.length - 1);
    }
  }

  /** From 0 to below `end`: xorshift (Marsaglia, 2003), because nothing depends on nobody guessing it. */
  #draw(end: number): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    return (x >>> 0) % end;
  }

  #rise(from: number): void {
    let place = from;
    while (place > 0) {
      const above = (place - 1) >> 1;
      if (this.#countAt(above) <= this.#countAt(place)) return;
      this.#swap(above, place);
      place = above;
    }
  }

  #sink(from: number): void {
    let place = from;
    for (;;) {
      const left = 2 * place + 1;
      if (left >= this.#heap.length) return;
      const right = left + 1;
      const least = right < this.#heap.length && this.#countAt(right) < this.#countAt(left) ? right : left;
      if (this.#countAt(place) <= this.#countAt(least)) return;
      this.#swap(place, least);
      place = least;
    }
  }

  #countAt(place: number): number {
    return (this.#heap[place] as Counter).count;
  }

  #swap(a: number, b: number): void {
    const [first, second] = [this.#heap[a] as Counter, this.#heap[b] as Counter];
    this.#heap[a] = second;
    this.#heap[b] = first;
    this.#places.set(second.key, a);
    this.#places.set(first.key, b);
  }
}
