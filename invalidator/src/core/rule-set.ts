import { compileRules, type CompiledRules, type RulesInput } from '@tidemark/proto';

/** The rules that a session works by. */
export interface RuleSet {
  /** What the document says now. */
  readonly current: CompiledRules;
  /**
   * What it said a moment ago: sidecars that have not heard of the change yet go on by them, and may, as long as every change
   * that they need is sent and claimed (SPEC I8). Nothing is mended for them.
   */
  readonly retired: CompiledRules;
  /** Both: what is read from Postgres and written to Kafka. A name may stand in it under several hashes. */
  readonly all: CompiledRules;
}

/** Compiles both. */
export function ruleSet(current: readonly RulesInput[], retired: readonly RulesInput[] = []): RuleSet {
  return {
    current: compileRules(current),
    retired: compileRules(retired),
    all: compileRules([...current, ...retired]),
  };
}
