import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Stack } from '../kit/index.ts';
import { eventually } from './support/eventually.ts';
import type { Feed } from './support/feed.ts';
import { startFollowed } from './support/followed.ts';
import { showLogsOnFailure } from './support/stack.ts';
import { Writers } from './support/writers.ts';

// What records say while the invalidator, Kafka and Postgres are killed, paused and restarted. Servers of its own.

let stack: Stack;
let feed: Feed;

beforeAll(async () => {
  ({ stack, feed } = await startFollowed());
});

afterAll(async () => {
  await feed?.stop();
  await stack?.stop();
});

beforeEach(() => showLogsOnFailure(stack));

describe('killed with SIGKILL at random moments under load', () => {
  it('[I1] [I2] loses nothing and stays in its epoch', { timeout: 400_000 }, async () => {
    const before = feed.epochs;
    const writers = new Writers({ url: stack.postgres, clients: 4, perSecond: 400 });
    for (let round = 0; round < 8; round++) {
      const { length } = writers.acknowledged;
      // A moment that depends on the machine, somewhere in the work of the next few records.
      await eventually(() => expect(writers.acknowledged.length).toBeGreaterThan(length + 37 * (round + 1)));
      await stack.invalidator.kill();
      await stack.invalidator.ready();
    }
    await writers.stop();
    await writers.expectPublished({ stack, feed });
    expect(feed.epochs).toEqual(before);
  });
});

describe('while Kafka is away', () => {
  it.each([
    ['killed, for 20 s', 4000, () => stack.servers.kafka.kill(), () => stack.servers.kafka.release()],
    // Longer than a request may take.
    ['paused, for 8 s', 1600, async () => stack.servers.kafka.pause(), async () => stack.servers.kafka.resume()],
  ])(
    '%s: keeps the slot, and publishes everything afterwards',
    { timeout: 400_000 },
    async (_how, writes, away, back) => {
      const before = feed.epochs;
      const writers = new Writers({ url: stack.postgres, clients: 2, perSecond: 200 });
      await eventually(() => expect(writers.acknowledged.length).toBeGreaterThan(50));
      stack.servers.kafka.hold();
      await away();
      const { length } = writers.acknowledged;
      await eventually(() => expect(writers.acknowledged.length).toBeGreaterThan(length + writes), {
        withinMs: 200_000,
        everyMs: 100,
      });
      await back();
      await stack.servers.kafka.release();
      await writers.stop();
      await writers.expectPublished({ stack, feed, withinMs: 120_000 });
      expect(feed.epochs).toEqual(before);
    },
  );
});

describe('when Postgres restarts', () => {
  it.each(['SIGINT', 'SIGKILL'] as const)('%s: goes on in its epoch', { timeout: 400_000 }, async (signal) => {
    const before = feed.epochs;
    const writers = new Writers({ url: stack.postgres, clients: 2, perSecond: 200 });
    await eventually(() => expect(writers.acknowledged.length).toBeGreaterThan(50));
    await stack.servers.postgres.restart(signal);
    const { length } = writers.acknowledged;
    await eventually(() => expect(writers.acknowledged.length).toBeGreaterThan(length + 50), { withinMs: 90_000 });
    await writers.stop();
    await writers.expectPublished({ stack, feed, withinMs: 120_000 });
    expect(feed.epochs).toEqual(before);
  });
});

describe('POST /v1/purge', () => {
  it('says that it cannot be done while Postgres is away, and the process lives on', { timeout: 400_000 }, async () => {
    const purge = () =>
      fetch(`${stack.invalidator.url}/v1/purge`, {
        method: 'POST',
        body: '{"purge":[{"namespace":"items","all":true}]}',
      });
    stack.servers.postgres.hold();
    await stack.servers.postgres.kill();
    const refused = await purge();
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect((await fetch(`${stack.invalidator.url}/livez`)).status).toBe(200);
    await eventually(async () => expect((await fetch(`${stack.invalidator.url}/readyz`)).status).toBe(503));
    await stack.servers.postgres.release();
    await eventually(async () => expect((await purge()).status).toBe(200), { withinMs: 60_000 });
    await eventually(async () => expect((await fetch(`${stack.invalidator.url}/readyz`)).status).toBe(200), {
      withinMs: 60_000,
    });
  });
});
