import type { Lsn, NamespaceRules } from '@tidemark/proto';
import type { Clock } from './ports.ts';
import type { Position } from './position.ts';
import type { Positions } from './positions.ts';
import type { SourceReplica } from './replica.ts';

/** How often the invalidator is asked again, and how many times: 10 s together. By then the stream has told, or is silent (SPEC I9). */
const AGAIN_MS = 250;
const MOST_QUESTIONS = 40;
/** Writes that are waited for; beyond it the oldest is let go. */
const MOST = 1_024;

/** A write that was committed nobody knows where. */
export interface UnplacedWrite {
  readonly token: string;
  readonly rules: NamespaceRules;
  /** Its key and tags. */
  readonly names: readonly string[];
  /** Nothing from before the position comes from now on. */
  readonly placed: (lsn: Lsn) => void;
}

interface Waiting {
  readonly place: (lsn: Lsn) => void;
  /** Questions. */
  left: number;
}

/**
 * Writes of which nobody could say where they were committed: an endpoint that does not tell, while the invalidator is away. No fence can be
 * raised for them, so until their place is known nothing at all is kept under their names (SPEC I18): what was read before the write could
 * be stored after it, and Redis may hold it still.
 */
export class Unplaced {
  readonly #replica: SourceReplica;
  readonly #positions: Positions;
  readonly #clock: Clock;
  readonly #byToken = new Map<string, Waiting>();
  #isWaiting = false;

  constructor(options: { replica: SourceReplica; positions: Positions; clock: Clock }) {
    this.#replica = options.replica;
    this.#positions = options.positions;
    this.#clock = options.clock;
  }

  get size(): number {
    return this.#byToken.size;
  }

  /** From here on nothing is kept under its names, until its place is known or the time is over. */
  add({ token, rules, names, placed }: UnplacedWrite): void {
    const unseal = this.#replica.seal(rules, names);
    const place = (lsn: Lsn): void => {
      this.#byToken.delete(token);
      unseal();
      placed(lsn);
    };
    this.#byToken.set(token, { place, left: MOST_QUESTIONS });
    const [oldest] = this.#byToken.values();
    if (this.#byToken.size > MOST) oldest?.place(this.#heard());
    this.#wait();
  }

  /** The stream told where it was committed. */
  found(token: string, lsn: Lsn): void {
    this.#byToken.get(token)?.place(lsn);
  }

  #wait(): void {
    if (this.#isWaiting || this.#byToken.size === 0) return;
    this.#isWaiting = true;
    this.#clock.after(AGAIN_MS, () => {
      // One question for all that are there now.
      const tokens = [...this.#byToken.keys()];
      this.#positions.ask((position) => {
        this.#isWaiting = false;
        for (const token of tokens) this.#answered(token, position);
        this.#wait();
      });
    });
  }

  #answered(token: string, position: Position | undefined): void {
    const waiting = this.#byToken.get(token);
    if (waiting === undefined) return;
    waiting.left -= 1;
    if (position?.epoch === this.#replica.epoch) waiting.place(position.lsn);
    else if (waiting.left === 0) waiting.place(this.#heard());
  }

  /** Above every lease that is out. */
  #heard(): Lsn {
    return this.#replica.applied + 1;
  }
}
