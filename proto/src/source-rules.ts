import type { LoaderConfig, NamespaceConfig, TidemarkConfig } from './config.ts';
import { compileRules, type CompiledRules, type RulesInput } from './rules.ts';

/**
 * The compiled rules of one source, from the document that all processes share: equal documents give equal hashes and
 * indexes. Namespaces that opted out of coherence have no rules and no fences.
 */
export function rulesOfSource(config: TidemarkConfig, source: string): CompiledRules {
  return compileRules(rulesInputs(config, source));
}

/** What {@link rulesOfSource} compiles, by ascending name. */
export function rulesInputs(config: TidemarkConfig, source: string): readonly RulesInput[] {
  return Object.entries(config.namespaces)
    .filter(([, namespace]) => namespace.source === source && namespace.invalidation === 'rules')
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, namespace]) => ({
      name,
      source,
      rules: namespace.invalidate,
      varies: namespace.vary !== undefined,
      meaning: meaningOf(namespace),
    }));
}

/**
 * What a cached value is besides its key: another statement must not be answered with values of the one before, which Redis still
 * has (SPEC I8). Undefined for a namespace that callers fill and that does not vary, so that its hash stays as it always was.
 */
function meaningOf({ load, vary }: NamespaceConfig): unknown {
  if (load === undefined && vary === undefined) return undefined;
  return {
    ...(load && { load: load.map(meaningOfLoader) }),
    ...(vary && { vary: [vary.headers, vary.identity] }),
  };
}

function meaningOfLoader(loader: LoaderConfig): readonly unknown[] {
  const { kind, key, contentType = null, tags } = loader;
  return kind === 'sql'
    ? [kind, key, contentType, tags, loader.sql, loader.params, loader.rows]
    : [
        kind,
        key,
        contentType,
        tags,
        loader.url,
        Object.entries(loader.headers).toSorted(([a], [b]) => (a < b ? -1 : 1)),
      ];
}
