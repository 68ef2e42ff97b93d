import { hash64 } from '@tidemark/proto';

/** Of each connection; PgBouncer keeps 200 by default. */
const MAX_PLANS = 200;

/** Which statements servers keep. They are named by their text, because through a pooler another sidecar may have named them before. */
export class Plans {
  readonly #names = new Map<string, string>();
  #keeps = true;

  /** Undefined where the server should keep none. */
  nameOf(text: string): string | undefined {
    if (!this.#keeps) return undefined;
    const known = this.#names.get(text);
    if (known !== undefined || this.#names.size >= MAX_PLANS) return known;
    const name = `tidemark_${hash64(text).toString(16)}`;
    this.#names.set(text, name);
    return name;
  }

  /** From now on. */
  keepNone(): void {
    this.#keeps = false;
  }
}
