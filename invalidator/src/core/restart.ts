/** What kind of failure ended a session. */
export type Failure =
  /** Something was away or cut off; trying again is all there is to do. */
  | 'passing'
  /** The stream itself was refused or cannot be understood, so that trying again may meet the same for ever. */
  | 'stubborn'
  /** Records may have left something out, so that nothing may continue them. */
  | 'chain-broken';

/** So many stubborn failures without any record between them mean that this slot will never get past them. */
export const MAX_STUBBORN = 5;

/**
 * Decides when to give a slot up. A new slot means a new epoch, which costs every cached value but loses nothing; a slot
 * that fails for ever would leave every sidecar without invalidations.
 */
export class RestartPolicy {
  #stubborn = 0;
  #unusable: string | undefined;

  /** Why the slot is not to be used although it looks sound; stays until {@link slotMade}. */
  get unusable(): string | undefined {
    return this.#unusable;
  }

  /** A record came all the way. */
  progressed(): void {
    this.#stubborn = 0;
  }

  slotMade(): void {
    this.#stubborn = 0;
    this.#unusable = undefined;
  }

  failed(failure: Failure, message: string): void {
    if (failure === 'stubborn') this.#stubborn += 1;
    if (failure === 'chain-broken') this.#unusable = message;
    else if (this.#stubborn >= MAX_STUBBORN) this.#unusable = `it failed ${this.#stubborn} times in a row: ${message}`;
  }
}
