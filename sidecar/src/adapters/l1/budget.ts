import type { SharedRoom, Tenant } from '../../core/ports.ts';

/**
 * What all namespaces of the process may hold together, in L1 and in grace. Each may use what the others leave. Once the total is reached, what goes is taken
 * from the one most above its share, until each has what it asks for or its share: weighted max-min fairness.
 *
 * Nobody can starve another: as long as the sum is over the total, the one with the most for its weight has more than its share of the
 * total, because otherwise the sum of all were not over it. So who is within its share never loses anything to others.
 */
export class Budget implements SharedRoom {
  readonly maxBytes: number;
  readonly maxEntries: number;
  #bytes = 0;
  #entries = 0;
  /** Those that hold something. Who holds nothing needs no place here, so nobody has to say that a store is of no more use. */
  readonly #tenants = new Set<Tenant>();

  /** Where a limit is not given there is none. */
  constructor(limits: { maxBytes?: number | undefined; maxEntries?: number | undefined } = {}) {
    this.maxBytes = limits.maxBytes ?? Number.POSITIVE_INFINITY;
    this.maxEntries = limits.maxEntries ?? Number.POSITIVE_INFINITY;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get entries(): number {
    return this.#entries;
  }

  changed(tenant: Tenant, by: { bytes: number; entries: number }): void {
    this.#bytes += by.bytes;
    this.#entries += by.entries;
    if (tenant.entries === 0) this.#tenants.delete(tenant);
    else if (tenant.entries === by.entries) this.#tenants.add(tenant);
  }

  /** O(tenants) for each entry that has to go. */
  settle(): void {
    while (this.#bytes > this.maxBytes) this.#mostAbove('bytes').displace('total_bytes');
    while (this.#entries > this.maxEntries) this.#mostAbove('entries').displace('total_entries');
  }

  #mostAbove(what: 'bytes' | 'entries'): Tenant {
    let found: Tenant | undefined;
    let most = -1;
    for (const tenant of this.#tenants) {
      const ratio = tenant[what] / tenant.maxBytes;
      if (ratio <= most) continue;
      most = ratio;
      found = tenant;
    }
    return found as Tenant;
  }
}
