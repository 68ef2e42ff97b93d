import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { InjectionOutcome } from '../http/injection-routes.ts';

const PREFIX = 'tidemark_webhook_';
const BUCKETS_S = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1];

/** What `inject` tells Prometheus. No label holds anything but words of this project. */
export class InjectMetrics {
  readonly #registry = new Registry();
  readonly #reviews = new Counter({
    name: `${PREFIX}reviews_total`,
    help: 'Admission reviews, by outcome',
    labelNames: ['outcome'],
    registers: [this.#registry],
  });
  readonly #seconds = new Histogram({
    name: `${PREFIX}review_seconds`,
    help: 'From having read a review to its answer',
    buckets: BUCKETS_S,
    registers: [this.#registry],
  });
  readonly #expiry = new Gauge({
    name: `${PREFIX}certificate_expiry_timestamp_seconds`,
    help: 'When the certificate that is shown expires; 0 while there is none',
    registers: [this.#registry],
  });
  readonly #loads = new Counter({
    name: `${PREFIX}certificate_loads_total`,
    help: 'Certificates that were begun to be shown',
    registers: [this.#registry],
  });
  readonly #failures = new Counter({
    name: `${PREFIX}certificate_failures_total`,
    help: 'Looks at the certificate that failed; what is shown stays',
    registers: [this.#registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
    for (const outcome of ['injected', 'unchanged', 'skipped', 'refused', 'malformed', 'failed'] as const)
      this.#reviews.inc({ outcome }, 0);
  }

  async render(): Promise<{ contentType: string; body: string }> {
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }

  reviewed({ outcome, ms }: InjectionOutcome): void {
    this.#reviews.inc({ outcome });
    this.#seconds.observe(ms / 1000);
  }

  loaded(notAfterMs: number): void {
    this.#loads.inc();
    this.#expiry.set(notAfterMs / 1000);
  }

  certificateFailed(): void {
    this.#failures.inc();
  }
}
