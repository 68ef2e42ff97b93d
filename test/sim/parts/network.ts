import type { Dice } from '../../../sidecar/src/testing/random.ts';
import type { SimClock } from './time.ts';

/** A connection was cut; what was sent may have been done. */
export class CutError extends Error {
  override name = 'CutError';
}

interface Request {
  /** Whether the server would answer now (a long poll waits). */
  readonly isReady: () => boolean;
  readonly run: () => void;
  readonly fail: (error: Error) => void;
}

/** One connection from a process to a server: requests arrive in order and so do answers, each at some time. */
export class Channel {
  readonly #owner: SimClock;
  readonly #requests: Request[] = [];
  readonly #answers: { readonly deliver: () => void; readonly fail: (error: Error) => void }[] = [];
  #isDeaf = false;
  /** Nothing arrives on either side, and nobody is told. */
  isHung = false;

  constructor(owner: SimClock) {
    this.#owner = owner;
  }

  /** Does `work` at the server at some time, and answers at some later time; rejects with what it throws. */
  call<T>(work: () => T, isReady: () => boolean = always): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const run = (): void => {
        let deliver: () => void;
        try {
          const answer = work();
          deliver = () => resolve(answer);
        } catch (error) {
          const failure = error instanceof Error ? error : new Error(String(error));
          deliver = () => reject(failure);
        }
        if (!this.#isDeaf) this.#answers.push({ deliver, fail: reject });
      };
      this.#requests.push({ isReady, run, fail: reject });
    });
  }

  /** Sends without waiting for an answer. */
  tell(work: () => void): void {
    this.#requests.push({ isReady: always, run: work, fail: () => undefined });
  }

  get isBusy(): boolean {
    return !this.isHung && (this.#canAnswer || this.#requests[0]?.isReady() === true);
  }

  /** One message arrives. */
  step(dice: Dice): void {
    const canAsk = this.#requests[0]?.isReady() === true;
    if (this.#canAnswer && (!canAsk || dice.chance(0.6))) this.#answers.shift()?.deliver();
    else if (canAsk) this.#requests.shift()?.run();
  }

  /** The connection breaks: answers under way are lost, and requests arrive or not. */
  cut(dice: Dice): void {
    const error = new CutError('the connection was cut');
    this.isHung = false;
    for (const { fail } of this.#answers.splice(0)) fail(error);
    const arriving = dice.below(this.#requests.length + 1);
    for (const [i, request] of this.#requests.splice(0).entries()) {
      if (i < arriving && request.isReady()) request.run();
      request.fail(error);
    }
    for (const { fail } of this.#answers.splice(0)) fail(error);
  }

  /** The process is gone. What it has sent may still arrive. */
  orphan(): void {
    this.#isDeaf = true;
    this.#answers.length = 0;
  }

  get #canAnswer(): boolean {
    return this.#answers.length > 0 && !this.#owner.isAsleep;
  }
}

/** All connections of a world. */
export class Network {
  readonly #channels = new Set<Channel>();

  open(owner: SimClock): Channel {
    const channel = new Channel(owner);
    this.#channels.add(channel);
    return channel;
  }

  close(channel: Channel): void {
    channel.orphan();
    if (!channel.isBusy) this.#channels.delete(channel);
  }

  /** One message arrives somewhere. False when none is under way. */
  step(dice: Dice): boolean {
    const busy = [...this.#channels].filter((channel) => channel.isBusy);
    if (busy.length === 0) return false;
    dice.pick(busy).step(dice);
    return true;
  }

  hangOne(dice: Dice): void {
    dice.pick([...this.#channels]).isHung = true;
  }

  /** Whatever hangs goes on. */
  resume(): void {
    for (const channel of this.#channels) channel.isHung = false;
  }

  cutOne(dice: Dice): void {
    dice.pick([...this.#channels]).cut(dice);
  }
}

function always(): boolean {
  return true;
}
