import type { Lsn } from '@tidemark/proto';

/**
 * Told of the rest of a mark's text, of the commit position of the transaction that left it, and whether no purge stands at the same
 * position.
 */
export type MarkListener = (rest: string, lsn: Lsn, isAlone: boolean) => void;

/**
 * Hands the marks of applied records to those who wait for them, by the word before the first colon. One listener a word: who
 * listens is decided once, when the parts of a process are put together.
 */
export class Marks {
  readonly #listeners = new Map<string, MarkListener>();

  /** Throws where somebody listens already. */
  on(word: string, listener: MarkListener): void {
    if (this.#listeners.has(word)) throw new Error(`marks "${word}:…" have a listener already`);
    this.#listeners.set(word, listener);
  }

  /** Anybody who may write to the database can write marks, so listeners must expect any text. */
  tell(text: string, lsn: Lsn, isAlone: boolean): void {
    const colon = text.indexOf(':');
    if (colon >= 0) this.#listeners.get(text.slice(0, colon))?.(text.slice(colon + 1), lsn, isAlone);
  }
}
