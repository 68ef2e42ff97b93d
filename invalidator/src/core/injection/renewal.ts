// When the webhook gets a new certificate, and when a replica begins to show it. The promise: the API server never meets a
// certificate that it does not trust yet, and never one that it trusts no more. Each pair has an authority of its own, whose
// key nobody keeps; what is trusted is a bundle of the newest authorities, and it always grows before a certificate is used.

/** A certificate and its key as PEM. */
export interface Pair {
  readonly certificate: string;
  readonly key: string;
}

/** What all replicas share: one object, written with optimistic concurrency. */
export interface SharedCertificates {
  readonly pair: Pair;
  /** Authorities to trust, newest first, as PEM. */
  readonly authorities: readonly string[];
}

/** What is stored, and under which version; `content` is undefined where there is nothing of use. */
export interface StoredCertificates {
  /** Undefined where the object itself is missing. */
  readonly version: string | undefined;
  readonly content: SharedCertificates | undefined;
}

export interface CertificateStore {
  read(): Promise<StoredCertificates>;
  /** Writes if nobody else has since `version` was read; otherwise `conflict`, and nothing happened. */
  write(content: SharedCertificates, version: string | undefined): Promise<'written' | 'conflict'>;
}

/** Where the API server reads whom to trust. */
export interface TrustAnchor {
  /** The authorities that are trusted, as PEM. Rejects where nobody could be. */
  read(): Promise<{ readonly version: string; readonly authorities: readonly string[] }>;
  /** As with {@link CertificateStore.write}. */
  write(authorities: readonly string[], version: string): Promise<'written' | 'conflict'>;
}

/** What a certificate says of itself. Undefined instead of it: one that cannot be used. */
export interface CertificateFacts {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Whether it is for a DNS name or an IP address. */
  readonly covers: (host: string) => boolean;
}

export type RenewalReason = 'missing' | 'expired' | 'hosts' | 'due';

/** Renewed when this part of its life is over; what is left is for clusters that are away for days. */
const RENEW_AT = 2 / 3;
/** A rotation needs two; more are there only if somebody deletes the Secret again and again. */
const MAX_AUTHORITIES = 5;

/** Why a new pair is needed now, or undefined. */
export function renewalReason(
  facts: CertificateFacts | undefined,
  now: { readonly nowMs: number; readonly hosts: readonly string[] },
): RenewalReason | undefined {
  if (facts === undefined) return 'missing';
  if (now.nowMs >= facts.notAfterMs) return 'expired';
  if (!now.hosts.every((host) => facts.covers(host))) return 'hosts';
  return now.nowMs >= facts.notBeforeMs + (facts.notAfterMs - facts.notBeforeMs) * RENEW_AT ? 'due' : undefined;
}

/**
 * A bundle with these authorities first, and with as many of those before it as are valid and find room. None is left out only
 * because this replica does not know it: another one may show its certificate.
 */
export function withAuthorities(
  wanted: readonly string[],
  before: readonly string[],
  isValid: (authority: string) => boolean,
): readonly string[] {
  const kept = before.filter((authority) => !wanted.includes(authority) && isValid(authority));
  return [...wanted, ...new Set(kept)].slice(0, MAX_AUTHORITIES);
}

/**
 * Whether a replica may show a pair whose authority was made trusted `trustedForMs` ago. API servers learn of it by a watch, so
 * a replica that still has another good certificate waits; one that has none does not.
 */
export function mayShow(options: {
  readonly trustedForMs: number;
  readonly settleMs: number;
  /** Whether the replica shows a certificate that is valid and trusted. */
  readonly hasAnother: boolean;
}): boolean {
  return !options.hasAnother || options.trustedForMs >= options.settleMs;
}
