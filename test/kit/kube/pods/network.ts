import { randomInt } from 'node:crypto';
import { platform } from 'node:os';
import { KitError } from '../../error.ts';

/** A pod's address in the cluster and the one on this machine that stands for it. */
export interface PodAddress {
  /** What the pod's status says: EndpointSlices take no loopback address. */
  readonly ip: string;
  /** An address of 127.0.0.0/8, where its processes listen on the ports that their spec names. */
  readonly host: string;
}

const perNetwork = 250;

/**
 * Gives out local addresses. On Linux every address of 127.0.0.0/8 is this machine, so each pod has one of its own and
 * no port must be rewritten: pod 10.R.S.n is 127.R.S.n. R and S are drawn, so that clusters beside each other do not meet.
 */
export class LocalNetwork {
  readonly #block = `${randomInt(128, 240)}.${randomInt(0, 255)}`;
  #given = 0;

  constructor() {
    if (platform() !== 'linux') {
      throw new KitError(
        `pods run as processes on addresses of their own (127.R.S.n), which ${platform()} does not have, expected Linux: run these tests there or in a container.`,
      );
    }
  }

  next(): PodAddress {
    if (this.#given >= perNetwork) {
      throw new KitError(`one pod runner gives ${perNetwork} addresses, and all are used.`);
    }
    this.#given += 1;
    const rest = `${this.#block}.${this.#given}`;
    return { ip: `10.${rest}`, host: `127.${rest}` };
  }
}
