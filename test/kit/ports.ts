import { createServer } from 'node:net';
import { randomInt } from 'node:crypto';
import { KitError } from './error.ts';

// Below the range from which Linux (32768) and macOS (49152) take the source ports of outgoing connections: a server
// that is down for a while must find its port free again, and a client that keeps trying a dead port in that range
// sooner or later connects to itself.
const lowest = 15_000;
const highest = 32_000;

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });
}

/** A TCP port on 127.0.0.1 that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const port = randomInt(lowest, highest);
    if (await isFree(port)) return port;
  }
  throw new KitError(`no free TCP port was found between ${lowest} and ${highest} on 127.0.0.1.`);
}
