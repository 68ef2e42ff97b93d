interface Asked<Q, A> {
  readonly question: Q;
  readonly resolve: (answer: A) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Answers what is asked within one tick together: whoever asks waits no longer than a microtask for it to go out, so that a
 * question that comes alone loses nothing.
 */
export class Gather<Q, A> {
  readonly #most: number;
  readonly #answer: (questions: readonly Q[]) => Promise<readonly A[]>;
  #asked: Asked<Q, A>[] = [];

  /** @param options.answer gets 1 to `most` questions; answers each in its place, or rejects for all of them */
  constructor(options: { most: number; answer: (questions: readonly Q[]) => Promise<readonly A[]> }) {
    this.#most = options.most;
    this.#answer = options.answer;
  }

  ask(question: Q): Promise<A> {
    return new Promise<A>((resolve, reject) => {
      this.#asked.push({ question, resolve, reject });
      if (this.#asked.length === 1) queueMicrotask(this.#go);
      else if (this.#asked.length >= this.#most) this.#go();
    });
  }

  /** Finds nothing where the questions that it was called for went out because there were enough. */
  readonly #go = (): void => {
    const asked = this.#asked;
    if (asked.length === 0) return;
    this.#asked = [];
    void this.#answer(asked.map(({ question }) => question)).then(
      (answers) => asked.forEach(({ resolve }, i) => resolve(answers[i] as A)),
      (error: unknown) => asked.forEach(({ reject }) => reject(error)),
    );
  };
}
