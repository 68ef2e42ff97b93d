import { createServer } from 'node:net';
import { randomInt } from 'node:crypto';
import { KitError } from './error.ts';

// Below the range from which Linux (32768) and macOS (49152) take the source ports of outgoing connections: a server
// that is down for a while must find its port free again, and a client that keeps trying a dead port in that range
// sooner or later connects to itself.
const lowest = 15_000;
const highest = 32_000;

// A port is nobody's between the moment in which it is found free and the one in which its server listens, and again while that
// server is down. So files that run at once choose from parts of their own, and each file none that it has had lately.
const parts = 8;
const most = 1_000;
const lately = new Set<number>();

/** The part of this process: vitest numbers the workers that run at once from 1; 0 is for everybody else. */
function partOf(worker: string | undefined): readonly [from: number, to: number] {
  const number = Number(worker ?? 0);
  const part = number > 0 ? 1 + ((number - 1) % (parts - 1)) : 0;
  const size = Math.floor((highest - lowest) / parts);
  return [lowest + part * size, lowest + (part + 1) * size];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });
}

/** A TCP port on 127.0.0.1 that nobody listens on at this moment, and that this process was not given before. */
export async function freePort(): Promise<number> {
  const [from, to] = partOf(process.env['VITEST_POOL_ID']);
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const port = randomInt(from, to);
    if (lately.has(port)) continue;
    // Before anybody else can be given it, as somebody who asks at the same time.
    lately.add(port);
    if (lately.size > most) lately.delete(lately.values().next().value as number);
    if (await isFree(port)) return port;
  }
  throw new KitError(`no free TCP port was found between ${from} and ${to} on 127.0.0.1.`);
}
