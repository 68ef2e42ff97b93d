import { setTimeout as sleep } from 'node:timers/promises';
import type { RulesInput } from '@tidemark/proto';
import type { Logger } from '@tidemark/runtime';
import type { CacheNamespace } from '../adapters/kube-cache-namespaces.ts';
import { effectiveConfig, type EffectiveConfig, type Memory, type Verdict } from '../core/effective-config.ts';
import type { CoverageView } from '../core/namespace-status.ts';
import type { ConfigDocument } from './config-document.ts';
import type { ConfigMetrics } from './config-metrics.ts';
import type { ConfigPublisher } from './config-publisher.ts';
import type { LiveRules } from './live-rules.ts';
import type { StatusWriter } from './status-writer.ts';

/** What came in is gathered for so long, ms: one `kubectl apply` of many resources is one change. */
const GATHER_MS = 100;
/** Without news it looks around after this time, ms. */
const IDLE_MS = 1000;
/** Sessions last at least so long, ms, so that rules that change all the time do not keep the stream busy with beginning. */
const MIN_SESSION_MS = 1000;
/**
 * How long a document waits until every namespace that can be served is, ms. Until then caches go on by the rules before; after
 * that, those that are not served yet pass everything on to the source (SPEC I8).
 */
const PATIENCE_MS = 5000;
/** Without any record for so long, ms, nothing is known of coverage. */
const SILENCE_MS = 15_000;

export interface ConfigKeeperOptions {
  readonly source: string;
  readonly file: ConfigDocument;
  readonly rules: LiveRules;
  /** Undefined: the document is published nowhere. */
  readonly publisher: ConfigPublisher | undefined;
  /** Undefined: there are no resources, the file alone counts. */
  readonly statuses: StatusWriter | undefined;
  readonly logger: Logger;
  readonly metrics: ConfigMetrics;
}

/** What `GET /v1/config` tells. */
export interface ConfigView {
  readonly source: string;
  /** Undefined where nothing was published. */
  readonly published: { readonly term: number; readonly revision: number } | undefined;
  readonly document: object | undefined;
  readonly complaint: string | undefined;
  readonly resources: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly verdict: string;
    readonly message?: string;
  }[];
}

/**
 * Decides, as the leader, what the configuration is: from the file and the resources it makes the document, gives its rules to the
 * stream, publishes it once they are served, and tells each resource what became of it. It looks at how things are, not at what
 * has happened, so that whatever fails is simply done at the next look.
 */
export class ConfigKeeper {
  readonly #options: ConfigKeeperOptions;
  /** One change among thousands of resources is not to keep the stream waiting. */
  readonly #memory: Memory = new WeakMap();
  #resources: readonly CacheNamespace[] | undefined;
  #effective: EffectiveConfig | undefined;
  #isChanged = true;
  #swappedAtMs = Number.NEGATIVE_INFINITY;
  #servedAtMs: number | undefined;
  #wake: () => void = () => undefined;

  constructor(options: ConfigKeeperOptions) {
    this.#options = options;
    options.file.onChange = () => this.#change();
  }

  /** All resources that there are. */
  takeResources(resources: readonly CacheNamespace[]): void {
    this.#resources = resources;
    this.#change();
  }

  /** Something may be due. */
  poke(): void {
    this.#wake();
  }

  get view(): ConfigView {
    const { source, file, publisher } = this.#options;
    const { document, verdicts } = this.#effective ?? {};
    return {
      source,
      published: publisher?.published,
      document,
      complaint: file.complaint,
      resources: (this.#resources ?? []).map(({ uid, namespace, name }) => ({
        namespace,
        name,
        ...told(verdicts?.get(uid)),
      })),
    };
  }

  /** Works until it is stopped. */
  async run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await this.#step();
      const isBusy = this.#isChanged || !this.#isServed(performance.now());
      await this.#rest(isBusy ? GATHER_MS : IDLE_MS, stop);
    }
  }

  #change(): void {
    this.#isChanged = true;
    this.#wake();
  }

  /** A change that comes while it rests is gathered with those that follow. */
  async #rest(ms: number, stop: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    const signal = AbortSignal.any([stop, woken.signal]);
    await sleep(ms, undefined, { signal }).catch(() => undefined);
    this.#wake = () => undefined;
    if (woken.signal.aborted && !stop.aborted)
      await sleep(GATHER_MS, undefined, { signal: stop }).catch(() => undefined);
  }

  async #step(): Promise<void> {
    const { publisher, statuses } = this.#options;
    this.work();
    const effective = this.#effective;
    const resources = this.#resources;
    if (effective === undefined) return;
    const nowMs = performance.now();
    if (this.#isServed(nowMs)) await publisher?.publish(effective);
    if (resources !== undefined) await statuses?.tell({ effective, resources, coverage: this.#coverage(nowMs) });
  }

  /** Makes the document of what came in, and gives its rules to the stream. */
  work(): void {
    const { source, file, statuses, rules, logger, metrics } = this.#options;
    // Before the API server has answered once, nobody knows what its resources say.
    if (statuses !== undefined && this.#resources === undefined) return;
    if (!this.#isChanged) return;
    const nowMs = performance.now();
    const before = this.#effective;
    const effective = effectiveConfig({
      source,
      file: file.current,
      resources: this.#resources ?? [],
      memory: this.#memory,
    });
    this.#effective = effective;
    metrics.verdicts(effective.verdicts.values());
    this.#tellRefused(effective, before);
    if (!rules.is(effective.rules)) {
      if (nowMs - this.#swappedAtMs < MIN_SESSION_MS) return;
      this.#swappedAtMs = nowMs;
      this.#servedAtMs = undefined;
      rules.change(effective.rules);
      metrics.rulesChanged();
      logger.info(
        { namespaces: namesOf(effective.rules) },
        'the rules have changed: the stream goes on with the new ones',
      );
    }
    this.#isChanged = false;
  }

  /** Whether caches that take the document find its rules served, or would wait for too long. */
  #isServed(nowMs: number): boolean {
    if (this.#isChanged) return false;
    const { report } = this.#options.rules;
    if (report === undefined) return false;
    this.#servedAtMs ??= nowMs;
    return !report.isSettling || nowMs - this.#servedAtMs > PATIENCE_MS;
  }

  #coverage(nowMs: number): CoverageView {
    const { newest } = this.#options.rules;
    if (newest === undefined || nowMs - newest.atMs > SILENCE_MS)
      return { kind: 'unknown', why: 'Postgres is not followed at the moment' };
    const { covers, refusals, isSettling } = newest.report;
    return { kind: 'known', covers: new Set(covers), refusals, isSettling };
  }

  #tellRefused({ verdicts }: EffectiveConfig, before: EffectiveConfig | undefined): void {
    for (const { uid, namespace, name } of this.#resources ?? []) {
      const verdict = verdicts.get(uid);
      if (verdict?.kind !== 'refused') continue;
      const { reason, message } = verdict;
      const earlier = before?.verdicts.get(uid);
      if (earlier?.kind === 'refused' && earlier.message === message) continue;
      this.#options.logger.error(
        { resource: `${namespace}/${name}`, reason },
        `a CacheNamespace is refused: ${message}`,
      );
    }
  }
}

function namesOf(rules: readonly RulesInput[]): readonly string[] {
  return rules.map(({ name }) => name);
}

function told(verdict: Verdict | undefined): { readonly verdict: string; readonly message?: string } {
  if (verdict === undefined) return { verdict: 'Pending' };
  if (verdict.kind === 'refused') return { verdict: verdict.reason, message: verdict.message };
  return { verdict: verdict.kind === 'accepted' ? 'Accepted' : 'OtherSource' };
}
