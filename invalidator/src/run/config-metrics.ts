import type { ConfigStamp } from '@tidemark/proto';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { RefusedReason, Verdict } from '../core/effective-config.ts';

const REFUSED: Readonly<Record<RefusedReason, true>> = { Invalid: true, NameTaken: true, TooMany: true };

/** What `run` tells Prometheus about the configuration. No label holds a name that somebody gave. */
export class ConfigMetrics {
  readonly #rules: Counter;
  readonly #publications: Counter;
  readonly #statuses: Counter;
  readonly #valid: Gauge;
  readonly #term: Gauge;
  readonly #revision: Gauge;
  readonly #yielding: Gauge;
  readonly #resources: Gauge;
  readonly #followed: Gauge;

  constructor(registry: Registry, prefix: string) {
    const registers = [registry];
    const counter = (name: string, help: string, labelNames: string[] = []): Counter =>
      new Counter({ name: `${prefix}${name}`, help, labelNames, registers });
    const gauge = (name: string, help: string, labelNames: string[] = []): Gauge =>
      new Gauge({ name: `${prefix}${name}`, help, labelNames, registers });
    this.#rules = counter('rules_changes_total', 'Times that the stream went on with other rules');
    this.#publications = counter('config_publications_total', 'Documents for the configuration topic', ['outcome']);
    this.#statuses = counter('config_statuses_total', 'Statuses of CacheNamespaces, by what became of them', [
      'outcome',
    ]);
    this.#valid = gauge('config_file_valid', '0 while the file holds something that is not taken');
    this.#valid.set(1);
    this.#term = gauge('config_term', 'Term of the document that was published last');
    this.#revision = gauge('config_revision', 'Its revision within the term');
    this.#yielding = gauge(
      'config_yielding',
      '1 while the configuration topic holds a later term, which is given way to',
    );
    this.#resources = gauge('config_resources', 'CacheNamespaces, by verdict', ['verdict']);
    this.#followed = gauge('config_resources_followed', '1 while the API server tells of changes to CacheNamespaces');
  }

  rulesChanged(): void {
    this.#rules.inc();
  }

  published({ term, revision }: ConfigStamp): void {
    this.#publications.inc({ outcome: 'published' });
    this.#term.set(term);
    this.#revision.set(revision);
  }

  notPublished(): void {
    this.#publications.inc({ outcome: 'failed' });
  }

  yielding(isYielding: boolean): void {
    this.#yielding.set(isYielding ? 1 : 0);
  }

  fileValid(isValid: boolean): void {
    this.#valid.set(isValid ? 1 : 0);
  }

  statusWritten(outcome: 'written' | 'conflict' | 'failed'): void {
    this.#statuses.inc({ outcome });
  }

  resourcesFollowed(isFollowed: boolean): void {
    this.#followed.set(isFollowed ? 1 : 0);
  }

  verdicts(verdicts: Iterable<Verdict>): void {
    const counts: Record<string, number> = { Accepted: 0, OtherSource: 0 };
    for (const reason of Object.keys(REFUSED)) counts[reason] = 0;
    for (const verdict of verdicts) {
      const word =
        verdict.kind === 'refused' ? verdict.reason : verdict.kind === 'accepted' ? 'Accepted' : 'OtherSource';
      counts[word] = (counts[word] ?? 0) + 1;
    }
    for (const [verdict, count] of Object.entries(counts)) this.#resources.set({ verdict }, count);
  }
}
