import type { BypassReason, Passed } from './flights.ts';
import type { Loads } from './loads.ts';
import type { Namespace } from './namespace.ts';

/** Why a caller may be given what the origin has now. Where a write waits for the database (SPEC I19), that would be older. */
const PASSABLE: ReadonlySet<BypassReason> = new Set([
  ...(['starting', 'stalled', 'uncovered'] as const),
  ...(['behind', 'no-position', 'crowded'] as const),
]);

interface Turn {
  readonly running: Promise<Passed>;
  next: Promise<Passed> | undefined;
}

/**
 * Reads from the origin for callers whom the cache cannot answer, where the sidecar is what loads: they have no other way to the value, and an
 * outage of the stream must not become theirs. Nothing of it is stored. Callers of one key share a load, but only one that begins after
 * they asked, so each gets what it would have read itself.
 */
export class Passing {
  readonly #loads: Pick<Loads, 'alone'>;
  readonly #turns = new WeakMap<Namespace, Map<string, Turn>>();

  constructor(loads: Pick<Loads, 'alone'>) {
    this.#loads = loads;
  }

  /** Whether a read that ended so is to be asked for here. */
  isFor(namespace: Namespace, key: string, why: BypassReason): boolean {
    return PASSABLE.has(why) && namespace.loads(key);
  }

  /** Never rejects; as bounded in time as two loads are. */
  read(namespace: Namespace, key: string): Promise<Passed> {
    let turns = this.#turns.get(namespace);
    if (turns === undefined) this.#turns.set(namespace, (turns = new Map()));
    const turn = turns.get(key);
    const of = turns;
    if (turn === undefined) return this.#begin(of, namespace, key);
    turn.next ??= turn.running.then(() => this.#begin(of, namespace, key));
    return turn.next;
  }

  #begin(turns: Map<string, Turn>, namespace: Namespace, key: string): Promise<Passed> {
    const running = this.#loads.alone(namespace, key);
    const turn: Turn = { running, next: undefined };
    turns.set(key, turn);
    void running.then(() => {
      if (turn.next === undefined) turns.delete(key);
    });
    return running;
  }
}
