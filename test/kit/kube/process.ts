import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { setTimeout as wait } from 'node:timers/promises';
import { startChild } from '../child.ts';
import type { ProcessHandle } from '../handle.ts';
import { startServer } from '../managed.ts';
import { freePort } from '../ports.ts';

export const host = '127.0.0.1';
const askAgainMs = 25;

export interface ComponentSpec {
  readonly name: string;
  readonly command: string;
  /** How many ports it takes; they are the same for every start after the first. */
  readonly ports: number;
  readonly args: (ports: readonly number[]) => readonly string[];
  /** What answers 200 once it does its job; a certificate of anybody's is taken. Without: ready as soon as it runs. */
  readonly health?: (ports: readonly number[]) => string;
  readonly home: string;
}

export interface Component {
  readonly process: ProcessHandle;
  readonly ports: readonly number[];
}

/** Starts a part of the cluster. Its data are thrown away with it, so it is ended by SIGKILL. */
export async function startComponent(spec: ComponentSpec): Promise<Component> {
  const choose = (): Promise<number[]> => Promise.all(Array.from({ length: spec.ports }, () => freePort()));
  let ports = await choose();
  const process = await startServer(
    {
      port: () => ports[0] ?? 0,
      choosePorts: async () => {
        ports = await choose();
      },
      launch: (log) => {
        const child = startChild({
          command: spec.command,
          args: spec.args(ports),
          cwd: spec.home,
          // Two cores serve everything: more threads only get into each other's way.
          env: { HOME: spec.home, PATH: globalThis.process.env['PATH'], GOMAXPROCS: '2' },
          orphanSignal: 'SIGKILL',
          log,
        });
        const ready = spec.health === undefined ? Promise.resolve() : answers(spec.health(ports), child.exited);
        return { child, ready };
      },
      remove: async () => undefined,
    },
    { name: spec.name, stopSignal: 'SIGKILL', graceMs: 5_000, startTimeoutMs: 240_000, supervise: false },
  );
  return { process, ports };
}

/** Settles when the address answers 200, or when the process that should is gone. */
async function answers(url: string, exited: Promise<unknown>): Promise<void> {
  let gone = false;
  const end = (): void => void (gone = true);
  exited.then(end, end);
  while (!gone && (await statusOf(url)) !== 200) await wait(askAgainMs);
}

function statusOf(url: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const request = url.startsWith('https:')
      ? httpsRequest(url, { rejectUnauthorized: false, timeout: 10_000 })
      : httpRequest(url, { timeout: 10_000 });
    request.once('response', (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(undefined));
    request.end();
  });
}
