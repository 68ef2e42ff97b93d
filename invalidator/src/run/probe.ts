import type { ClientConfig } from 'pg';
import { openVisibilityProbe, type VisibilityProbe } from '../adapters/postgres-visibility.ts';

/** How long to wait for an answer, and before connecting again, ms. */
const DEADLINE_MS = 1000;
const RETRY_MS = 1000;

/** A visibility probe that comes back by itself: losing it costs freshness of the visible clock, nothing else. */
export class LastingProbe {
  readonly #connection: ClientConfig;
  readonly #mark: string;
  #probe: VisibilityProbe | undefined;
  #opening = false;
  #closed = false;
  #notBeforeMs = 0;

  /** @param mark of the server whose stream it is; a probe of any other is refused */
  constructor(connection: ClientConfig, mark: string) {
    this.#mark = mark;
    this.#connection = { ...connection, query_timeout: DEADLINE_MS };
  }

  async open(): Promise<void> {
    let isOpen = false;
    const probe = await openVisibilityProbe({
      connection: this.#connection,
      mark: this.#mark,
      onFailure: () => {
        // Also called while it opens; then opening fails as well.
        if (isOpen) this.#lose(probe);
      },
    });
    isOpen = true;
    if (this.#closed) await probe.close();
    else this.#probe = probe;
  }

  /** Rejects at once while there is no connection, and after a second without an answer. */
  async ask(xids: readonly number[]): Promise<ReadonlySet<number>> {
    const probe = this.#probe;
    if (probe === undefined) {
      this.#reopen();
      throw new Error('there is no connection to ask about visibility');
    }
    try {
      return await probe.stillUnseen(xids);
    } catch (error) {
      this.#lose(probe);
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#probe?.close().catch(() => undefined);
  }

  #lose(probe: VisibilityProbe): void {
    if (this.#probe !== probe) return;
    this.#probe = undefined;
    probe.close().catch(() => undefined);
  }

  #reopen(): void {
    if (this.#opening || this.#closed || performance.now() < this.#notBeforeMs) return;
    this.#opening = true;
    this.#notBeforeMs = performance.now() + RETRY_MS;
    this.open()
      .catch(() => undefined) // tried again with the next question
      .finally(() => {
        this.#opening = false;
      });
  }
}
