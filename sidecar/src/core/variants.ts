import type { NamespaceConfig } from '@tidemark/proto';

/** What a value is about: the key that a caller named, and the headers of the request by which values differ. */
export interface Subject {
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Subjects that are remembered, for loads that no request begins; and of what length their headers may be together. */
const MAX_SUBJECTS = 10_000;
const MAX_CHARS = 4 * 1024 * 1024;
/** Ends the key in an address: none may be so long that this matters, and what follows has always the same length. */
const SEPARATOR = '\u0000';

/**
 * The addresses of a namespace whose values differ by request headers (SPEC I20): the key and a digest of those headers. An address cannot
 * be forged, because whatever key a caller names, the digest of his own headers comes last.
 */
export class Variants {
  readonly #names: readonly string[];
  readonly #identity: readonly string[];
  readonly #digest: (text: string) => string;
  readonly #headers = new Map<string, Readonly<Record<string, string>>>();
  #chars = 0;

  /** @param options.digest of a fixed length, collision-resistant: who finds two texts with one digest reads what is another's */
  constructor(options: { config: NonNullable<NamespaceConfig['vary']>; digest: (text: string) => string }) {
    this.#identity = options.config.identity;
    this.#names = [...options.config.headers, ...options.config.identity];
    this.#digest = options.digest;
  }

  /** The headers, for the field `Vary` of an answer (RFC 9110 section 12.5.5). */
  get names(): readonly string[] {
    return this.#names;
  }

  /** Where the value of a key is for a request with these headers, or which of them it lacks. */
  addressOf(key: string, headerOf: (name: string) => string | undefined): string | { readonly missing: string } {
    const missing = this.#identity.find((name) => (headerOf(name) ?? '') === '');
    if (missing !== undefined) return { missing };
    const headers = Object.fromEntries(this.#names.map((name) => [name, headerOf(name) ?? '']));
    const digest = this.#digest(JSON.stringify(this.#names.map((name) => headers[name])));
    this.#remember(digest, headers);
    return `${key}${SEPARATOR}${digest}`;
  }

  /** The key in an address. */
  keyOf(address: string): string {
    return address.slice(0, address.lastIndexOf(SEPARATOR));
  }

  /** Undefined for headers that nobody has sent lately. */
  subjectOf(address: string): Subject | undefined {
    const key = this.keyOf(address);
    const headers = this.#headers.get(address.slice(key.length + SEPARATOR.length));
    return headers && { key, headers };
  }

  /** The one that was not sent for longest is forgotten. */
  #remember(digest: string, headers: Readonly<Record<string, string>>): void {
    if (this.#headers.delete(digest)) this.#chars -= charsOf(headers);
    this.#headers.set(digest, headers);
    this.#chars += charsOf(headers);
    for (const [oldest, forgotten] of this.#headers) {
      if (this.#headers.size <= MAX_SUBJECTS && this.#chars <= MAX_CHARS) return;
      this.#headers.delete(oldest);
      this.#chars -= charsOf(forgotten);
    }
  }
}

function charsOf(headers: Readonly<Record<string, string>>): number {
  let chars = 0;
  for (const value of Object.values(headers)) chars += value.length;
  return chars;
}
