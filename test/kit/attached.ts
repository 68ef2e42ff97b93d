import { KitError } from './error.ts';
import type { ProcessHandle } from './handle.ts';

export function notOurs(name: string): KitError {
  return new KitError(
    `${name} is a server that was named (in the environment or on the command line) or that all tests share: it is not ours to stop, start or change.`,
  );
}

/** A server that somebody else runs: it can be used, but not ended, paused or restarted by us. */
export function attached<T extends object>(name: string, address: T): ProcessHandle & T {
  const refuse = (): never => {
    throw notOurs(name);
  };
  return Object.assign(
    {
      name,
      owned: false,
      pid: undefined,
      starts: 0,
      exits: [],
      kill: async () => refuse(),
      pause: refuse,
      resume: refuse,
      start: async () => refuse(),
      restart: async () => refuse(),
      hold: refuse,
      release: async () => refuse(),
      ready: async () => undefined,
      stop: async () => undefined,
      logs: () => [],
    },
    address,
  );
}
