import type { ConfigStamp } from '@tidemark/proto';
import type { Logger } from '@tidemark/runtime';
import type { ConfigLog } from '../adapters/config-topic.ts';
import { canonicalJson } from '../core/canonical.ts';
import { ConfigPublication } from '../core/config-publication.ts';
import type { EffectiveConfig } from '../core/effective-config.ts';
import type { ConfigMetrics } from './config-metrics.ts';
import { Pause } from './pause.ts';

/** A topic that cannot be read for so long, ms, may be gone. */
const TOPIC_GONE_MS = 10_000;

export interface ConfigPublisherOptions {
  readonly log: ConfigLog;
  readonly leadership: { readonly term: number; isSure(): boolean };
  readonly logger: Logger;
  readonly metrics: ConfigMetrics;
}

/** Keeps the document that holds the newest one in the configuration topic. */
export class ConfigPublisher {
  readonly #options: ConfigPublisherOptions;
  readonly #publication = new ConfigPublication();
  readonly #pause = new Pause();
  #told: string | undefined;
  #wasYielding = false;
  #readAtMs = performance.now();

  constructor(options: ConfigPublisherOptions) {
    this.#options = options;
  }

  /** The stamp of what was published last. */
  get published(): ConfigStamp | undefined {
    return this.#publication.own;
  }

  /** Publishes the document if the topic does not hold it. Never rejects. */
  async publish(wanted: EffectiveConfig): Promise<void> {
    const { log, leadership, logger, metrics } = this.#options;
    const nowMs = performance.now();
    if (log.isConnected) this.#readAtMs = nowMs;
    if (!leadership.isSure() || this.#pause.isOn(nowMs)) return;
    try {
      if (nowMs - this.#readAtMs > TOPIC_GONE_MS) {
        this.#readAtMs = nowMs;
        await log.ensure();
      }
      const stamp = this.#decide(wanted, nowMs);
      if (stamp === undefined) return;
      await log.append({ ...stamp, document: wanted.document });
      this.#publication.published(stamp, nowMs);
      this.#pause.end();
      this.#told = undefined;
      metrics.published(stamp);
      logger.info(stamp, 'the configuration is published');
    } catch (error) {
      metrics.notPublished();
      const { message } = error as Error;
      if (this.#pause.begin(nowMs) || message !== this.#told)
        logger.error({ err: error }, `the configuration cannot be published: ${message}`);
      this.#told = message;
    }
  }

  #decide({ text }: EffectiveConfig, nowMs: number): ConfigStamp | undefined {
    const { log, leadership, logger, metrics } = this.#options;
    if (!log.isCaughtUp) return undefined;
    const held = log.held && { ...log.held, text: canonicalJson(log.held.document) };
    const topic = { held, isBuried: log.isBuried };
    const stamp = this.#publication.decide({ topic, wanted: text, leaderTerm: leadership.term, nowMs });
    const { isYielding } = this.#publication;
    if (isYielding && !this.#wasYielding)
      logger.warn('the configuration topic holds a later term than ours: not publishing, in case another one leads');
    this.#wasYielding = isYielding;
    metrics.yielding(isYielding);
    return stamp;
  }
}
