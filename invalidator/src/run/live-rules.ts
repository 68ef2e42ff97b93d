import { rulesHash, type RulesInput } from '@tidemark/proto';
import { RETIRED_FOR_MS, RetiredRules } from '../core/retired-rules.ts';
import { ruleSet, type RuleSet } from '../core/rule-set.ts';
import type { CoverageReport, RulesFeed, RulesTurn } from './rules-feed.ts';

/**
 * The rules that sessions work by, as they change. A session is not cut short before its first record, so that rules which
 * change all the time cannot keep the stream from going on.
 */
export class LiveRules implements RulesFeed {
  readonly #nowMs: () => number;
  readonly #retiredForMs: number;
  readonly #retired: RetiredRules;
  #inputs: readonly RulesInput[];
  #set: RuleSet;
  #newest: { readonly report: CoverageReport; readonly atMs: number } | undefined;
  #changedAtMs: number;
  #turn: { readonly set: RuleSet; readonly changed: AbortController; report: CoverageReport | undefined } | undefined;

  /**
   * @param options.before rules that sidecars may still follow
   * @param options.nowMs monotonic clock
   */
  constructor(options: {
    readonly rules: readonly RulesInput[];
    readonly before: readonly RulesInput[];
    /** How long those that were replaced are claimed. */
    readonly retiredForMs?: number;
    readonly nowMs: () => number;
  }) {
    this.#nowMs = options.nowMs;
    this.#retiredForMs = options.retiredForMs ?? RETIRED_FOR_MS;
    this.#retired = new RetiredRules(this.#retiredForMs);
    this.#inputs = options.before;
    this.#set = ruleSet([]);
    this.#changedAtMs = 0;
    this.#replace(options.rules);
  }

  /** Whether these are the rules of now. */
  is(rules: readonly RulesInput[]): boolean {
    return sameRules(rules, this.#inputs);
  }

  /** Other rules from now on; false when they are the same. */
  change(rules: readonly RulesInput[]): boolean {
    if (this.is(rules)) return false;
    this.#replace(rules);
    if (this.#turn?.report !== undefined) this.#turn.changed.abort();
    return true;
  }

  /** Coverage by the rules of now; undefined until a record was published by them. */
  get report(): CoverageReport | undefined {
    return this.#turn?.set === this.#set ? this.#turn.report : undefined;
  }

  /** The newest report, also by the rules before, and when it came (ms of the clock). */
  get newest(): { readonly report: CoverageReport; readonly atMs: number } | undefined {
    return this.#newest;
  }

  next(): RulesTurn {
    const set = this.#set;
    const turn = { set, changed: new AbortController(), report: undefined as CoverageReport | undefined };
    this.#turn = turn;
    const retiredUntilMs = this.#changedAtMs + this.#retiredForMs;
    return {
      rules: set,
      claimsRetired: () => this.#nowMs() < retiredUntilMs,
      changed: turn.changed.signal,
      onPublished: (report) => {
        turn.report = report;
        this.#newest = { report, atMs: this.#nowMs() };
        if (this.#set !== set) turn.changed.abort();
      },
    };
  }

  #replace(rules: readonly RulesInput[]): void {
    const nowMs = this.#nowMs();
    this.#retired.replace(this.#inputs, rules, nowMs);
    this.#inputs = rules;
    this.#changedAtMs = nowMs;
    this.#set = ruleSet(rules, this.#retired.inputs);
  }
}

function sameRules(a: readonly RulesInput[], b: readonly RulesInput[]): boolean {
  return a.length === b.length && a.every((input, i) => rulesHash(input) === rulesHash(b[i] as RulesInput));
}
