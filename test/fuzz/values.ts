import type { Answer } from './answers.ts';
import type { Request } from './requests.ts';

/** Which values may be served: those that a request stored whose answer said so, or was never heard. */
export class Values {
  readonly #allowed = new Map<string, Set<string>>();
  served = 0;
  stored = 0;

  /** Before it is sent: while it is under way its value may be served, if it comes whole. */
  sending({ stores, isWhole }: Request): void {
    if (isWhole) for (const { place, value } of stores) this.#at(place).add(value);
  }

  /** @param statuses of what it stored, in order; undefined where no answer was heard */
  answered({ stores }: Request, statuses: readonly (number | undefined)[]): void {
    for (const [i, { place, value }] of stores.entries()) {
      const status = statuses[i];
      if (status === 200 || status === 201 || status === 204) this.stored += 1;
      // A write whose outcome is not known may be in the database.
      else if (status === 503) continue;
      else if (status !== undefined) this.#at(place).delete(value);
    }
  }

  /** What is wrong with a value that was served for a place; undefined where it may be. */
  complaint(place: string, value: string): string | undefined {
    this.served += 1;
    if (this.#at(place).has(value)) return undefined;
    return `${place} was served ${JSON.stringify(value.slice(0, 200))}, which nobody stored`;
  }

  #at(place: string): Set<string> {
    let values = this.#allowed.get(place);
    if (values === undefined) this.#allowed.set(place, (values = new Set()));
    return values;
  }
}

/** How each value of a request was taken, by the answer to it. */
export function statusesOf(request: Request, answer: Answer | undefined): readonly (number | undefined)[] {
  if (answer === undefined) return [];
  if (!request.isBatch || answer.status !== 200) return request.stores.map(() => answer.status);
  if (answer.headers['content-type'] !== 'application/json') return [];
  const { put = [] } = JSON.parse(answer.body.toString()) as { put?: readonly { readonly status: number }[] };
  return put.map(({ status }) => status);
}
