import { rulesHash, type RulesInput } from '@tidemark/proto';

/** How long sidecars may go on by rules that the document does not hold any more, ms: far longer than one needs to hear of it. */
export const RETIRED_FOR_MS = 60_000;
/** Most of them at a time; of more the oldest are forgotten, whose followers then pass everything on to the source. */
export const MAX_RETIRED = 256;

/** Remembers rules that were replaced or taken away, for a while. */
export class RetiredRules {
  readonly #keptForMs: number;
  /** By hash, the latest to retire last. */
  #retired = new Map<bigint, { readonly input: RulesInput; readonly atMs: number }>();

  constructor(keptForMs: number) {
    this.#keptForMs = keptForMs;
  }

  /** Rules that follow others: what only the others have retires. */
  replace(before: readonly RulesInput[], now: readonly RulesInput[], nowMs: number): void {
    const kept = new Set(now.map(rulesHash));
    for (const input of before) {
      const hash = rulesHash(input);
      this.#retired.delete(hash);
      this.#retired.set(hash, { input, atMs: nowMs });
    }
    const recent = [...this.#retired].filter(([hash, { atMs }]) => !kept.has(hash) && nowMs - atMs < this.#keptForMs);
    this.#retired = new Map(recent.slice(-MAX_RETIRED));
  }

  /** Those that still count. */
  get inputs(): readonly RulesInput[] {
    return [...this.#retired.values()].map(({ input }) => input);
  }
}
