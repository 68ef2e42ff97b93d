import type { Logger } from '@tidemark/runtime';
import {
  mayShow,
  renewalReason,
  withAuthorities,
  type CertificateFacts,
  type CertificateStore,
  type Pair,
  type SharedCertificates,
  type StoredCertificates,
  type TrustAnchor,
} from '../core/injection/renewal.ts';
import type { MadePair } from './make-pair.ts';
import { isValidAt, readPair } from './pem.ts';

/** More than a handful of replicas never write at the same moment; one that loses so often tries again at the next turn. */
const MAX_CONFLICTS = 5;

export interface SelfSignedOptions {
  readonly store: CertificateStore;
  readonly trust: TrustAnchor;
  readonly make: (nowMs: number) => Promise<MadePair>;
  readonly hosts: readonly string[];
  /** How long API servers may take to learn whom to trust, ms. */
  readonly settleMs: number;
  readonly clock: { readonly nowMs: () => number; readonly monotonicMs: () => number };
  /** Is called with each pair that is to be shown from now on. */
  readonly onPair: (pair: Pair, facts: CertificateFacts) => void;
  readonly logger: Logger;
}

/**
 * Keeps the certificate of the webhook: makes and renews it, agrees on it with other replicas, and has it trusted before it is
 * shown. {@link turn} is called again and again; what it found before does not matter but for the waiting.
 */
export class SelfSignedCertificates {
  readonly #options: SelfSignedOptions;
  #shown: { readonly pair: Pair; readonly facts: CertificateFacts } | undefined;
  /** The newest pair, and since when the API server has been told whom to trust for it. */
  #trusted: { readonly certificate: string; readonly sinceMs: number } | undefined;

  constructor(options: SelfSignedOptions) {
    this.#options = options;
  }

  /** One look at everything. Rejects where the API server does not answer or refuses; then all stays as it is. */
  async turn(): Promise<void> {
    const { clock, settleMs, onPair } = this.#options;
    const { content, facts } = await this.#agreed();
    const wasTrusted = await this.#trust(content.authorities);
    const { certificate } = content.pair;
    const monotonicMs = clock.monotonicMs();
    if (this.#trusted?.certificate !== certificate || !wasTrusted)
      this.#trusted = { certificate, sinceMs: monotonicMs };
    if (this.#shown?.pair.certificate === certificate) return;
    const hasAnother = this.#shown !== undefined && clock.nowMs() < this.#shown.facts.notAfterMs;
    if (!mayShow({ trustedForMs: monotonicMs - this.#trusted.sinceMs, settleMs, hasAnother })) return;
    onPair(content.pair, facts);
    this.#shown = { pair: content.pair, facts };
  }

  /** What is stored, renewed where that is due: whoever is first writes, the others take what was written. */
  async #agreed(): Promise<{ readonly content: SharedCertificates; readonly facts: CertificateFacts }> {
    const { store, make, hosts, clock, logger } = this.#options;
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const stored = await store.read();
      const facts = factsOf(stored);
      const nowMs = clock.nowMs();
      const reason = renewalReason(facts, { nowMs, hosts });
      if (reason === undefined && stored.content !== undefined && facts !== undefined)
        return { content: stored.content, facts };
      const { pair, authority } = await make(nowMs);
      const before = stored.content?.authorities ?? [];
      const authorities = withAuthorities([authority], before, (one) => isValidAt(one, nowMs));
      const content = { pair, authorities };
      if ((await store.write(content, stored.version)) === 'conflict') continue;
      logger.info({ reason, authorities: authorities.length }, 'made a new certificate');
      return { content, facts: readPair(pair) };
    }
    throw new Error(`other replicas wrote the certificate ${MAX_CONFLICTS} times in a row`);
  }

  /**
   * Has these authorities trusted; answers whether they were already. Those that were before stay: where the Secret was deleted,
   * only the API server still knows them, and other replicas show what they signed.
   */
  async #trust(authorities: readonly string[]): Promise<boolean> {
    const { trust, clock, logger } = this.#options;
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts += 1) {
      const found = await trust.read();
      if (authorities.every((authority) => found.authorities.includes(authority))) return true;
      const nowMs = clock.nowMs();
      const wanted = withAuthorities(authorities, found.authorities, (one) => isValidAt(one, nowMs));
      if ((await trust.write(wanted, found.version)) === 'conflict') continue;
      logger.info({ authorities: wanted.length }, 'the API server is told whom to trust');
      return false;
    }
    throw new Error(`others wrote the webhook's configuration ${MAX_CONFLICTS} times in a row`);
  }
}

/** Undefined also for what somebody damaged: it is made anew. */
function factsOf({ content }: StoredCertificates): CertificateFacts | undefined {
  if (content === undefined) return undefined;
  try {
    return readPair(content.pair);
  } catch {
    return undefined;
  }
}
