/** A count is 4 bits in the paper; as a byte it is faster here, and still nothing beside an entry. */
const MOST = 15;
/** Counts of a block: one cache line, so that a key costs one memory access. A key has one count in each quarter of it. */
const BLOCK = 64;
const QUARTER = 16;
/** So many keys share a block: 16 counts each. */
const KEYS_OF_A_BLOCK = 4;
const FIRST_BLOCKS = 16;
/** All counts are halved after so many additions for each key that there is room for. */
const SAMPLES_OF_A_KEY = 10;

/**
 * How often keys were seen lately, about: a count-min sketch (Cormode and Muthukrishnan, 2005) that halves all counts now and
 * then, as TinyLFU does it (Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", ACM Transactions on
 * Storage 13(4), 2017, doi:10.1145/3149371). Never counts too little between two halvings, sometimes too much.
 */
export class FrequencySketch {
  #counts = new Uint8Array(FIRST_BLOCKS * BLOCK);
  #mask = FIRST_BLOCKS - 1;
  #additions = 0;
  #sample = FIRST_BLOCKS * KEYS_OF_A_BLOCK * SAMPLES_OF_A_KEY;

  /** Additions after which all counts are halved. */
  get sample(): number {
    return this.#sample;
  }

  /** Makes room for so many keys. What was counted stays: the keys of a block go on in it or in the one that copies it. */
  fit(keys: number): void {
    while (keys > (this.#mask + 1) * KEYS_OF_A_BLOCK) {
      const doubled = new Uint8Array(this.#counts.length * 2);
      doubled.set(this.#counts);
      doubled.set(this.#counts, this.#counts.length);
      this.#counts = doubled;
      this.#mask = this.#mask * 2 + 1;
      this.#sample *= 2;
    }
  }

  /** @param hash 32 bits, each as good as the other. */
  add(hash: number): void {
    const counts = this.#counts;
    const block = (hash & this.#mask) * BLOCK;
    // The block took the low bits. In the upper half of a product each bit depends on all of them.
    const mixed = Math.imul(hash, 0x9e3779b1);
    let isAdded = false;
    for (let quarter = 0; quarter < 4; quarter++) {
      const at = block + quarter * QUARTER + ((mixed >>> (16 + quarter * 4)) & (QUARTER - 1));
      const count = counts[at] as number;
      if (count === MOST) continue;
      counts[at] = count + 1;
      isAdded = true;
    }
    if (!isAdded) return;
    this.#additions += 1;
    if (this.#additions >= this.#sample) this.#halve();
  }

  /** 0 to 15. */
  count(hash: number): number {
    const block = (hash & this.#mask) * BLOCK;
    const mixed = Math.imul(hash, 0x9e3779b1);
    let least = MOST;
    for (let quarter = 0; quarter < 4; quarter++) {
      const at = block + quarter * QUARTER + ((mixed >>> (16 + quarter * 4)) & (QUARTER - 1));
      least = Math.min(least, this.#counts[at] as number);
    }
    return least;
  }

  /** Four counts at a time. */
  #halve(): void {
    const words = new Uint32Array(this.#counts.buffer);
    for (let i = 0; i < words.length; i++) words[i] = ((words[i] as number) >>> 1) & 0x07_07_07_07;
    this.#additions = Math.floor(this.#additions / 2);
  }
}
