import type { Entry, Lsn, NamespaceRules } from '@tidemark/proto';
import type { Claimable, L2Failure, L2FillResult, L2Found, L2Store } from '../core/ports.ts';

/**
 * An L2 that several sidecars share, with a log that has everything, and claims that end by the clock. What is asked happens, and is
 * answered, when the test says so; some answers are lost, although what was asked has happened.
 */
export class SharedL2 {
  isUp = true;
  /** What is applied to the log. */
  to: Lsn = 0;
  readonly entries = new Map<string, Entry>();
  readonly claims = new Map<string, { readonly token: string; readonly untilMs: number }>();
  readonly counts = { reads: 0, claims: 0, released: 0 };
  readonly #nowMs: () => number;
  readonly #later: (work: () => void) => void;
  readonly #isLost: () => boolean;
  readonly #grantsAll: boolean;

  constructor(options: {
    nowMs: () => number;
    later?: (work: () => void) => void;
    isLost?: () => boolean;
    grantsAll?: boolean;
  }) {
    this.#nowMs = options.nowMs;
    this.#later = options.later ?? ((work) => work());
    this.#isLost = options.isLost ?? (() => false);
    this.#grantsAll = options.grantsAll ?? false;
  }

  /** A change of a key is applied to the log. */
  apply(key: string, lsn: Lsn): void {
    this.to = Math.max(this.to, lsn);
    const entry = this.entries.get(key);
    if (entry !== undefined && entry.asOf < lsn) this.entries.delete(key);
  }

  /** As one sidecar has it. */
  open(): L2Store {
    const isUp = (): boolean => this.isUp;
    return {
      get available() {
        return isUp();
      },
      read: (_: NamespaceRules, key: string) => this.#ask(() => this.#read(key)),
      fill: (_: NamespaceRules, key: string, entry: Entry) => this.#ask(() => this.#fill(key, entry)),
      promote: () => Promise.resolve('ok'),
      readPlain: () => Promise.resolve(undefined),
      writePlain: () => Promise.resolve('ok'),
      deletePlain: () => Promise.resolve('ok'),
      claim: (_: Claimable, key: string, claim) => this.#ask(() => this.#claim(key, claim)),
      release: (_: Claimable, key: string, token: string) => this.#ask(() => this.#release(key, token)),
    };
  }

  #ask<T>(work: () => T): Promise<T | L2Failure> {
    return new Promise((resolve) => {
      if (!this.isUp) {
        resolve('away');
        return;
      }
      this.#later(() => {
        const answer = this.isUp ? work() : 'away';
        this.#later(() => resolve(this.#isLost() ? 'away' : answer));
      });
    });
  }

  #read(key: string): L2Found {
    this.counts.reads += 1;
    const log = `1 g a 1 0 0 ${this.to} ${this.to} 5 d -`;
    return { entry: this.entries.get(key), generation: 'g', context: { log, pair: 'a 0 0' } };
  }

  #fill(key: string, entry: Entry): L2FillResult {
    const present = this.entries.get(key);
    if (present !== undefined && present.asOf > entry.asOf) return 'newer';
    this.entries.set(key, entry);
    return 'ok';
  }

  #claim(key: string, { token, ttlMs }: { token: string; ttlMs: number }): 'granted' | 'taken' {
    this.counts.claims += 1;
    const present = this.claims.get(key);
    if (present !== undefined && present.untilMs > this.#nowMs() && !this.#grantsAll) return 'taken';
    this.claims.set(key, { token, untilMs: this.#nowMs() + ttlMs });
    return 'granted';
  }

  #release(key: string, token: string): 'released' | 'gone' {
    if (this.claims.get(key)?.token !== token) return 'gone';
    this.counts.released += 1;
    this.claims.delete(key);
    return 'released';
  }
}
