import type { TidemarkConfig } from './config.ts';
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
    .map(([name, namespace]) => ({ name, source, rules: namespace.invalidate }));
}
