import type { Outcome } from '../../../sidecar/src/core/flights.ts';
import type { Position } from '../../../sidecar/src/core/position.ts';
import { parseSession } from '../../../sidecar/src/core/session-token.ts';
import type { Visit } from '../../../sidecar/src/core/sessions.ts';
import type { Dice } from '../../../sidecar/src/testing/random.ts';
import type { Database } from '../database.ts';
import type { KeySpec } from '../parts/keys.ts';
import type { WorldSidecar } from './sidecar.ts';

export interface AppOptions {
  readonly dice: Dice;
  readonly database: Database;
  readonly keys: readonly KeySpec[];
  readonly sidecars: readonly WorldSidecar[];
  readonly visit: (sidecar: WorldSidecar, ...demand: ConstructorParameters<typeof Visit>[1][]) => Visit;
  /** Whether it says with some of its fills how far the database was: a number, whose epoch nobody knows. */
  readonly tellsLoads: boolean;
}

/** One session of a user, whose requests go to any sidecar, two at a time. It must never see anything go back. */
export class Session {
  readonly #options: AppOptions;
  /** What it sends with its next request: answers that no later answer stands for. Two of them may read the same. */
  readonly #tokens = new Set([{ text: 'new' }]);
  /** The position of its own newest commit, until a request has carried it. */
  #wrote: Position | undefined;
  readonly #seen = new Map<string, number>();
  readonly #todo: (() => void)[] = [];
  #open = 0;
  /** What went back. */
  wrong: string | undefined;
  served = 0;

  constructor(options: AppOptions) {
    this.#options = options;
  }

  step(): void {
    const { dice, database, keys } = this.#options;
    const roll = dice.below(10);
    if (roll < 4 && this.#open < 2) this.#get(dice.pick(keys));
    else if (roll < 5 && dice.chance(0.2)) {
      const row = dice.pick(database.rows);
      this.#see(row, database.commitVisibly(row));
      this.#wrote = database.position;
    } else dice.draw(this.#todo)?.();
  }

  #get(spec: KeySpec): void {
    const sidecar = this.#options.dice.pick(this.#options.sidecars);
    const namespace = sidecar.namespace(spec.namespace);
    const floor = new Map(this.#seen);
    const request = this.#request(sidecar);
    const { visit } = request;
    const bypass = (): void => {
      visit.missed(undefined);
      request.end();
      this.#todo.push(() => this.#load(spec));
    };
    const settle = (outcome: Outcome): void => {
      if (outcome.kind === 'bypass' || outcome.kind === 'failed') bypass();
      else if (outcome.kind === 'miss') {
        visit.missed(outcome.lease?.token);
        request.end();
        this.#todo.push(() => this.#load(spec, sidecar, outcome.lease?.token));
      } else if (visit.saw(outcome.entry)) {
        request.end();
        this.served += 1;
        this.#check(spec, outcome.entry.body, floor, `from ${outcome.from}`);
      } else bypass();
    };
    if (sidecar.coalescer.bypass(namespace) !== undefined) bypass();
    else
      visit.gate((unmet) => {
        if (unmet === undefined) sidecar.reader.read({ namespace, key: spec.key, mode: 'usual', settle });
        else bypass();
      });
  }

  /** Reads the database, and comes back with that later, if at all. */
  #load(spec: KeySpec, sidecar?: WorldSidecar, lease?: string): void {
    const { database, dice, tellsLoads } = this.#options;
    const body = Uint8Array.from(spec.rows.map((row) => database.read(row)));
    this.#check(spec, body, new Map(this.#seen), 'from the database');
    if (sidecar === undefined || lease === undefined || dice.chance(0.2)) return;
    const later = (loadedAt: number | undefined): void =>
      void this.#todo.push(() => {
        const request = this.#request(sidecar);
        const { key, tags } = spec;
        const fill = { namespace: sidecar.namespace(spec.namespace), key, token: lease, tags, body, loadedAt };
        sidecar.filler.fill({ ...fill, absent: false, contentType: '', etag: '' });
        request.visit.knows(loadedAt, lease);
        request.end();
      });
    if (tellsLoads && dice.chance(0.7)) this.#todo.push(() => later(database.position.lsn));
    else later(undefined);
  }

  #request(sidecar: WorldSidecar): { visit: Visit; end: () => void } {
    const sent = [...this.#tokens];
    const min = this.#wrote;
    const visit = this.#options.visit(sidecar, { token: parseSession(sent.map(({ text }) => text).join(',')), min });
    this.#open += 1;
    const end = (): void => {
      this.#open -= 1;
      for (const token of sent) this.#tokens.delete(token);
      this.#tokens.add({ text: visit.token() ?? 'new' });
      if (this.#wrote === min) this.#wrote = undefined;
    };
    return { visit, end };
  }

  #check(spec: KeySpec, body: Uint8Array, floor: ReadonlyMap<string, number>, from: string): void {
    spec.rows.forEach((row, i) => {
      const found = body[i] as number;
      const least = this.#options.database.survivorOf(row, floor.get(row) ?? 0);
      if (found < least) this.wrong ??= `${spec.key} ${from}: row ${row} at version ${found} after ${least}`;
      this.#see(row, found);
    });
  }

  #see(row: string, version: number): void {
    this.#seen.set(row, Math.max(version, this.#seen.get(row) ?? 0));
  }
}
