import { DeadlineError } from '@tidemark/runtime';
import { afterEach, expect, it } from 'vitest';
import { eventually } from './eventually.ts';
import { beforeTimer, isAtOnce } from './in-turn.ts';

/** Deadline of the clients of which it is tested, ms. */
export const DEADLINE_MS = 60;
/** That of all others: a server that is not run for a while answers late, which is nothing to them. */
export const PATIENT_MS = 60_000;

/** A server that a client of a backend is tried on. */
interface TriedServer {
  readonly url: string;
  start(): Promise<void>;
  kill(): Promise<unknown>;
  pause(): void;
  resume(): void;
}

/** A client of a backend, as far as all of them are alike. */
interface TriedClient {
  readonly isUp: boolean;
  /** One cheap command. */
  ask(): Promise<unknown>;
  /** Finds out that a server that was away answers again. */
  probe(): Promise<unknown>;
}

interface ClientOptions {
  readonly deadlineMs: number;
  readonly maxInFlight?: number;
  readonly onChange?: (isUp: boolean) => void;
}

/** What is ended after each test, the last first. To be called once a file, outside of tests. */
export function useCleanups(): (cleanup: () => Promise<unknown> | void) => void {
  const cleanups: (() => Promise<unknown> | void)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });
  return (cleanup) => void cleanups.push(cleanup);
}

/**
 * What every client of a backend must do, whatever it speaks: never let anybody wait for a server that is away or stands still, and
 * hold no more than it may.
 */
export function backendClientContract(options: {
  readonly server: () => Promise<TriedServer>;
  readonly client: (url: string, more: ClientOptions) => TriedClient;
  /** What a command is refused with that is not sent at all. */
  readonly unavailable: new (...args: never[]) => Error;
}): void {
  const { server, unavailable } = options;
  const client = (url: string, more: Omit<ClientOptions, 'deadlineMs'> = {}): TriedClient =>
    options.client(url, { deadlineMs: DEADLINE_MS, ...more });
  const up = (tried: TriedClient): Promise<void> => eventually(() => expect(tried.isUp).toBe(true));

  it('rejects at once while there is no server, and works as soon as there is one', async () => {
    const tried = await server();
    await tried.kill();
    const changes: boolean[] = [];
    const of = client(tried.url, { onChange: (isUp) => void changes.push(isUp) });
    const asked = outcome(of.ask());
    expect(await isAtOnce(asked)).toBe(true);
    expect((await asked).error).toBeInstanceOf(unavailable);
    await tried.start();
    await up(of);
    await tried.kill();
    await eventually(() => expect(of.isUp).toBe(false));
    expect(await isAtOnce(outcome(of.ask()))).toBe(true);
    expect(changes).toEqual([true, false]);
  });

  it('never waits longer than the deadline for a server that stands still, and soon not at all', async () => {
    const tried = await server();
    const of = client(tried.url);
    await up(of);
    tried.pause();
    const asked = Array.from({ length: 20 }, () => outcome(of.ask()));
    for (const { error, ms } of await beforeTimer(Promise.all(asked), DEADLINE_MS + 100)) {
      expect(error).toBeInstanceOf(DeadlineError);
      expect(ms).toBeGreaterThan(DEADLINE_MS - 5);
    }
    expect(of.isUp).toBe(false);
    const startedAt = performance.now();
    const later = Array.from({ length: 20 }, () => outcome(of.ask()));
    // One in 100 ms is let through to see.
    const most = 1 + (performance.now() - startedAt) / 100;
    const sent = (await Promise.all(later)).filter(({ error }) => !(error instanceof unavailable));
    expect(sent.length).toBeLessThanOrEqual(most);
    tried.resume();
    await eventually(async () => {
      await of.probe();
      expect(of.isUp).toBe(true);
      expect((await outcome(of.ask())).error).toBeUndefined();
    });
  });

  it('holds no more commands without an answer than it is allowed', async () => {
    const of = client((await server()).url, { maxInFlight: 3 });
    await up(of);
    const outcomes = await Promise.all(Array.from({ length: 5 }, () => outcome(of.ask())));
    expect(outcomes.map(({ error }) => error instanceof unavailable)).toEqual([false, false, false, true, true]);
  });
}

/** How a command ends, and after how many ms. */
async function outcome(command: Promise<unknown>): Promise<{ error: unknown; ms: number }> {
  const startedAt = performance.now();
  const error = await command.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { error, ms: performance.now() - startedAt };
}
