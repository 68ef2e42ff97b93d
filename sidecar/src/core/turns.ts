/** Begins with another one each time, so that what is left undone at the end is not always the same ones'. */
export class Turns {
  #first = 0;

  /** All of them, each once. */
  *of<T>(all: Iterable<T>): Iterable<T> {
    const each = [...all];
    const first = this.#first % Math.max(1, each.length);
    this.#first = first + 1;
    yield* each.slice(first);
    yield* each.slice(0, first);
  }
}
