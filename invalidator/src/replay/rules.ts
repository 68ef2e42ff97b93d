import { rulesOfSource, type CompiledRules, type RuleConfig, type TidemarkConfig } from '@tidemark/proto';
import { OperatorError } from '../core/errors.ts';

/** The rules that a replay works with. */
export interface ChosenRules {
  readonly rules: CompiledRules;
  /** As they are configured, by namespace. */
  readonly configs: ReadonlyMap<string, readonly RuleConfig[]>;
}

/**
 * The rules of a source, of all its namespaces or only of some. Throws {@link OperatorError} for one that is not there, but
 * not where a document is only compared with: it may lack what is new.
 */
export function chooseRules(
  document: TidemarkConfig,
  options: {
    readonly source: string;
    readonly names: readonly string[];
    readonly isComparison?: boolean;
    readonly needsL2?: boolean;
  },
): ChosenRules {
  const { source, names, isComparison = false, needsL2 = false } = options;
  const there = Object.entries(document.namespaces).filter(([, namespace]) => namespace.source === source);
  for (const name of isComparison ? [] : names) {
    const found = there.find(([other]) => other === name);
    if (found === undefined)
      throw new OperatorError(
        `--namespace: found "${name}", expected one of source ${source}: ${there.map(([other]) => other).join(', ')}`,
      );
    if (found[1].invalidation !== 'rules')
      throw new OperatorError(`--namespace ${name}: it is ttl_only, so nothing ever invalidates it`);
  }
  const chosen = there.filter(
    ([name, { l2 }]) => (names.length === 0 || names.includes(name)) && (l2.enabled || !needsL2),
  );
  return {
    rules: rulesOfSource({ ...document, namespaces: Object.fromEntries(chosen) }, source),
    configs: new Map(chosen.map(([name, { invalidate }]) => [name, invalidate])),
  };
}
