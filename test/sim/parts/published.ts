import type { RuleSet } from '../../../invalidator/src/core/rule-set.ts';
import type { Dice } from '../../../sidecar/src/testing/random.ts';
import { DOCUMENTS, rulesOf, type SimDocument } from './documents.ts';

/** The configuration topic. */
export class Published {
  readonly #documents: SimDocument[];

  constructor(first: SimDocument) {
    this.#documents = [first];
  }

  get newest(): SimDocument {
    return this.#documents.at(-1) as SimDocument;
  }

  /** Of a publisher that leads now. */
  get rules(): RuleSet {
    return rulesOf(this.newest, this.#documents.at(-2));
  }

  another(dice: Dice): void {
    this.#documents.push(dice.pick(DOCUMENTS.filter((document) => document !== this.newest)));
  }

  /** What a process that starts has heard of: sometimes nothing yet, sometimes something older. */
  found(dice: Dice): SimDocument | undefined {
    if (dice.chance(0.6)) return this.newest;
    return dice.chance(0.5) ? undefined : dice.pick(this.#documents);
  }
}
