import type { CompiledRules, Lsn, NamespaceRules } from '@tidemark/proto';

/** A name takes 2 µs at the most, so a record of the largest size keeps nobody waiting for longer than some 50 ms. */
const MAX_NAMES = 10_000;
/** Steps of what a name evicts that its 2 µs are meant for. A tag may have thousands of entries, and an entry 64 tags. */
const STEPS_OF_A_NAME = 4;

/** What a prefix counts for: keys are compared with it one by one (evictor.ts), so a record has 5 at the most. */
export const PREFIX_WEIGHT = 2000;

/** Bounds how many names of a namespace one record evicts one by one, and how much work that is (SPEC I13). */
export class NameBound {
  readonly #most: number;
  readonly #flush: (namespace: NamespaceRules, lsn: Lsn) => void;
  /** Names of each namespace that the record under way has invalidated so far, and its end. */
  #named = new Float64Array(0);
  #isOver: boolean[] = [];
  #to: Lsn = 0;

  /**
   * @param options.most beyond it the namespace is flushed as a whole
   * @param options.flush called once a record, and only then
   */
  constructor(options: { most: number | undefined; flush: (namespace: NamespaceRules, lsn: Lsn) => void }) {
    this.#most = options.most ?? MAX_NAMES;
    this.#flush = options.flush;
  }

  reconfigure(rules: CompiledRules): void {
    this.#named = new Float64Array(rules.namespaces.length);
    this.#isOver = rules.namespaces.map(() => false);
  }

  /** A record begins whose end stands at `to`. */
  begin(to: Lsn): void {
    this.#named.fill(0);
    this.#isOver.fill(false);
    this.#to = to;
  }

  /** Counts one more name, or what takes as long as so many; whether the record has so many that one flush, at its end, stands for the rest of them. */
  isFlushed(namespace: NamespaceRules, weight = 1): boolean {
    const { index } = namespace;
    const named = (this.#named[index] as number) + weight;
    this.#named[index] = named;
    if (named <= this.#most) return false;
    if (this.#isOver[index] !== true) {
      this.#isOver[index] = true;
      this.#flush(namespace, this.#to);
    }
    return true;
  }

  /** What the last name evicted took so many steps: those beyond the usual count for the next one. */
  took({ index }: NamespaceRules, steps: number): void {
    this.#named[index] = (this.#named[index] as number) + Math.max(0, steps / STEPS_OF_A_NAME - 1);
  }
}
