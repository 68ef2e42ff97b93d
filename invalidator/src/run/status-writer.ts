import type { Logger } from '@tidemark/runtime';
import type { CacheNamespace } from '../adapters/kube-cache-namespaces.ts';
import type { EffectiveConfig } from '../core/effective-config.ts';
import { saysTheSame, statusOf, type CoverageView, type NamespaceStatus } from '../core/namespace-status.ts';
import type { ConfigMetrics } from './config-metrics.ts';
import { Pause } from './pause.ts';

export interface StatusWriterOptions {
  readonly source: string;
  readonly write: (resource: CacheNamespace, status: NamespaceStatus) => Promise<'written' | 'conflict'>;
  /** Whether nobody else can lead at this moment. */
  readonly isSure: () => boolean;
  readonly logger: Logger;
  readonly metrics: ConfigMetrics;
}

/** What statuses say. */
interface Known {
  readonly effective: EffectiveConfig;
  readonly resources: readonly CacheNamespace[];
  readonly coverage: CoverageView;
}

/** Tells each resource what became of it; writes only what has changed. */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #pause = new Pause();
  /** What statuses were last written for; undefined while some could not be. */
  #written: (Omit<Known, 'coverage'> & { readonly coverage: string }) | undefined;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /** Never rejects. O(resources) where anything is new. */
  async tell(known: Known): Promise<void> {
    const { source, isSure } = this.#options;
    const { effective, resources } = known;
    const coverage = keyOf(known.coverage);
    const before = this.#written;
    if (this.#pause.isOn(performance.now())) return;
    if (before?.effective === effective && before.resources === resources && before.coverage === coverage) return;
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    for (const resource of resources) {
      const { uid, name, generation, status: present } = resource;
      const verdict = effective.verdicts.get(uid);
      // One that came while others were written has its turn at the next look.
      if (verdict === undefined) continue;
      const status = statusOf({ name, generation, source, verdict, coverage: known.coverage, present, now });
      if (status === undefined || saysTheSame(status, present)) continue;
      if (!isSure() || !(await this.#write(resource, status))) return;
    }
    this.#written = { effective, resources, coverage };
  }

  /** False when the rest has to wait. A conflict needs nothing: what is there now comes by the watch, and then its status is written. */
  async #write(resource: CacheNamespace, status: NamespaceStatus): Promise<boolean> {
    const { write, logger, metrics } = this.#options;
    try {
      metrics.statusWritten(await write(resource, status));
      this.#pause.end();
      return true;
    } catch (error) {
      metrics.statusWritten('failed');
      if (this.#pause.begin(performance.now())) logger.warn({ err: error }, (error as Error).message);
      return false;
    }
  }
}

function keyOf(view: CoverageView): string {
  if (view.kind === 'unknown') return view.why;
  return JSON.stringify([[...view.covers].map(String), view.refusals, view.isSettling]);
}
