import { formatLsn, type Lsn, type PurgeRequest } from '@tidemark/proto';
import type { PurgeClient } from './ports.ts';
import type { Watermark } from './watermark.ts';

export type PurgeOutcome = { readonly ok: true; readonly lsn: Lsn } | { readonly ok: false; readonly detail: string };

/** Purges through the WAL (SPEC I11), and waits until they have come back. */
export class Purger {
  readonly #client: PurgeClient | undefined;
  readonly #watermark: Watermark;
  readonly #waitMs: number;

  constructor(options: { client: PurgeClient | undefined; watermark: Watermark; waitMs: number }) {
    this.#client = options.client;
    this.#watermark = options.watermark;
    this.#waitMs = options.waitMs;
  }

  /** Bounded by the client's limit and the waiting time together. What was not applied in time still comes. */
  async purge(request: PurgeRequest): Promise<PurgeOutcome> {
    if (this.#client === undefined) {
      return { ok: false, detail: 'this sidecar was not told where the invalidator is (TIDEMARK_INVALIDATOR_URL)' };
    }
    const written = await this.#client.purge(request);
    if ('failed' in written) return { ok: false, detail: written.failed };
    const { lsn } = written;
    if (await this.#watermark.reaches(lsn, this.#waitMs)) return { ok: true, lsn };
    return { ok: false, detail: `the purge is written at ${formatLsn(lsn)}, but this sidecar has not applied it yet` };
  }
}
