import { rulesOfSource, type NamespaceConfig, type NamespaceRules, type TidemarkConfig } from '@tidemark/proto';
import type { Coalescer } from './coalescer.ts';
import type { Evictor } from './evictor.ts';
import type { Grace } from './grace.ts';
import { Namespace } from './namespace.ts';
import type { PendingNamespace } from './pending-namespace.ts';
import type { L1Store, Loader } from './ports.ts';
import type { SourceReplica } from './replica.ts';
import type { Variants } from './variants.ts';

/** Names of namespaces by what a document did to them; `kept` are those whose settings are all as they were. */
export interface Taken {
  /** Whether anything is different. */
  readonly isNew: boolean;
  readonly kept: readonly string[];
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

export interface ConfigurationOptions {
  readonly source: string;
  /** Those of the document that are served; undefined for all of them. */
  readonly served: ReadonlySet<string> | undefined;
  readonly replica: SourceReplica;
  readonly evictor: Evictor;
  readonly coalescer: Coalescer;
  readonly createL1: (config: NamespaceConfig) => L1Store;
  readonly createGrace?: (config: NamespaceConfig) => Grace | undefined;
  readonly createVariants?: (config: NamespaceConfig) => Variants | undefined;
  readonly createLoader?: (name: string, config: NamespaceConfig) => Loader | undefined;
  readonly createPending?: (name: string, config: NamespaceConfig) => PendingNamespace | undefined;
}

/** The namespaces of a source as the newest document has them, and the step from one document to the next (SPEC I16). */
export class Configuration {
  readonly #options: ConfigurationOptions;
  readonly #namespaces = new Map<string, Namespace>();

  constructor(options: ConfigurationOptions) {
    this.#options = options;
  }

  /** Always the same map: a request looks up what is served at that moment. */
  get namespaces(): ReadonlyMap<string, Namespace> {
    return this.#namespaces;
  }

  /**
   * Serves what the document says from here on. Synchronous and between two records: no request sees anything in between. Where
   * nothing is different for this sidecar, nothing happens.
   */
  take(document: TidemarkConfig): Taken {
    const { replica, evictor, coalescer } = this.#options;
    const next = this.#served(document);
    const taken = this.#compare(next);
    if (!taken.isNew) return taken;
    const rules = rulesOfSource({ ...document, namespaces: next }, this.#options.source);
    const retired = [...taken.changed, ...taken.removed].map((name) => this.#namespaces.get(name) as Namespace);
    for (const namespace of retired) namespace.retire();
    for (const name of taken.removed) this.#namespaces.delete(name);
    const kept = new Set(taken.kept);
    for (const [name, config] of Object.entries(next)) {
      if (kept.has(name)) this.#namespaces.get(name)?.renumber(rules.byName.get(name));
      else this.#put(name, config, rules.byName.get(name));
    }
    const ruled = rules.namespaces.map(({ name }) => this.#namespaces.get(name) as Namespace);
    evictor.reconfigure(ruled);
    replica.reconfigure(rules);
    coalescer.reconfigure(ruled, retired);
    return taken;
  }

  #served({ namespaces }: TidemarkConfig): Record<string, NamespaceConfig> {
    const { source, served } = this.#options;
    return Object.fromEntries(
      Object.entries(namespaces).filter(([name, each]) => each.source === source && (served?.has(name) ?? true)),
    );
  }

  #compare(next: Readonly<Record<string, NamespaceConfig>>): Taken {
    const names = Object.keys(next);
    const before = (name: string): NamespaceConfig | undefined => this.#namespaces.get(name)?.config;
    const isSame = (name: string): boolean => JSON.stringify(before(name)) === JSON.stringify(next[name]);
    const known = names.filter((name) => before(name) !== undefined);
    const kept = known.filter(isSame);
    const removed = [...this.#namespaces.keys()].filter((name) => !Object.hasOwn(next, name));
    return {
      isNew: kept.length < names.length || removed.length > 0,
      kept,
      added: names.filter((name) => before(name) === undefined),
      changed: known.filter((name) => !isSame(name)),
      removed,
    };
  }

  #put(name: string, config: NamespaceConfig, rules: NamespaceRules | undefined): void {
    const { createL1, createGrace, createVariants, createLoader, createPending } = this.#options;
    const parts = {
      l1: createL1(config),
      grace: createGrace?.(config),
      variants: createVariants?.(config),
      loader: createLoader?.(name, config),
      pending: createPending?.(name, config),
    };
    // What was counted goes on under the same name, and what was hot still is.
    const before = this.#namespaces.get(name);
    const counters = before && { counters: before.counters, hot: before.hot };
    this.#namespaces.set(name, new Namespace({ name, config, rules, ...parts, ...counters }));
  }
}
