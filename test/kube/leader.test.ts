import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFailed } from 'vitest';
import { type Cluster, startCluster } from '../kit/kube/index.ts';
import { scratchFolder, type Stack } from '../kit/index.ts';
import { eventually } from '../integration/support/eventually.ts';
import { Feed } from '../integration/support/feed.ts';
import { startFollowed } from '../integration/support/followed.ts';
import { Writers } from '../integration/support/writers.ts';
import { type Replica, Replicas, SHORT, SHORT_LEASE_MS } from './support/replicas.ts';

// Replicas of `tidemark run` on a real API server, Postgres and Kafka: who leads when the leader is killed, stopped, paused or
// cut off, and what the records say of it. Every record is held to the chain (Feed). How long it takes is told, and held to no
// bound that a busy machine may miss: test/sim/leader holds it to the times of the lease, on a clock of its own.

const soon = { withinMs: 60_000 };
const LONG = { timeout: 240_000 };

let stack: Stack;
let feed: Feed;
let cluster: Cluster;
let replicas: Replicas;
let count = 0;
const scratch = scratchFolder('leader');

beforeAll(async () => {
  const [started, followed] = await Promise.all([startCluster(), startFollowed()]);
  [cluster, stack] = [started, followed.stack];
  await followed.feed.stop();
  feed = await Feed.open(stack, undefined, { expectsLate: true });
  // The topic and the slot are there; from now on replicas take turns.
  await stack.invalidator.stop();
}, 300_000);

afterAll(async () => {
  await feed?.stop();
  await Promise.all([stack?.stop(), cluster?.stop()]);
  await scratch.remove();
});

beforeEach(() => {
  replicas = new Replicas({ stack, cluster, lease: `tidemark-${(count += 1)}`, folder: scratch.path });
  onTestFailed(() => void process.stderr.write(`${replicas.logs().slice(-60).join('\n')}\n`));
});

afterEach(() => replicas.stop());

/** Two of them, under load: [leader, standby]. */
async function pair(env?: Readonly<Record<string, string>>): Promise<readonly [Replica, Replica]> {
  const first = await replicas.start('first', env);
  await replicas.leader();
  const second = await replicas.start('second', env);
  expect(await second.readyz()).toEqual([200, expect.stringMatching(/^standby: first_.* leads$/)]);
  return [first, second];
}

/** Waits for the next record after what has been read by now. */
async function nextRecord(): Promise<void> {
  const { length } = feed.batches;
  await eventually(() => expect(feed.batches.length).toBeGreaterThan(length), soon);
}

describe('a standby takes over', () => {
  it('[I1] within the duration of the lease after a kill -9, at the default times', LONG, async () => {
    const epochs = feed.epochs;
    const [first, second] = await pair({});
    const writers = new Writers({ url: stack.postgres, clients: 2, perSecond: 100 });
    await nextRecord();
    const atMs = performance.now();
    await first.kill();
    await replicas.leader({ butNot: first });
    process.stderr.write(`kill -9 to the successor's first record: ${Math.round(performance.now() - atMs)} ms\n`);
    await writers.stop();
    await writers.expectPublished({ stack, feed });
    expect([feed.epochs, await second.metric('leader'), await second.metric('leader_term')]).toEqual([epochs, 1, 1]);
  });

  it('[I1] at once when the leader is stopped', LONG, async () => {
    const epochs = feed.epochs;
    const tookMs: number[] = [];
    const [first] = await pair({});
    const writers = new Writers({ url: stack.postgres, clients: 2, perSecond: 100 });
    let leader = first;
    for (let round = 0; round < 3; round++) {
      await nextRecord();
      const atMs = performance.now();
      await leader.kill('SIGTERM');
      const other = await replicas.leader({ butNot: leader });
      tookMs.push(Math.round(performance.now() - atMs));
      expect(leader.exits.at(-1)).toMatchObject({ code: 0 });
      await replicas.start(`next-${round}`, {});
      leader = other;
    }
    process.stderr.write(`SIGTERM to the successor's first record: ${tookMs.join(', ')} ms\n`);
    // None of them waited for the lease to run out, but where the machine stood still while it was given away.
    expect(tookMs.toSorted((a, b) => a - b)[1]).toBeLessThan(10_000);
    await writers.stop();
    await writers.expectPublished({ stack, feed });
    expect(feed.epochs).toEqual(epochs);
  });

  it('[I1] [I2] from a leader that is paused, which does no harm when it wakes', LONG, async () => {
    const epochs = feed.epochs;
    await pair();
    const writers = new Writers({ url: stack.postgres, clients: 4, perSecond: 400 });
    for (let round = 0; round < 4; round++) {
      const paused = await replicas.leader();
      await nextRecord();
      paused.pause();
      const atMs = performance.now();
      const leader = await replicas.leader({ butNot: paused });
      process.stderr.write(`SIGSTOP to the successor's first record: ${Math.round(performance.now() - atMs)} ms\n`);
      await eventually(async () => expect(await leader.metric('evictions_total')).toBeGreaterThan(0), soon);
      paused.resume();
      await eventually(
        async () => expect(await paused.readyz()).toEqual([200, expect.stringContaining(`standby: ${leader.name}_`)]),
        soon,
      );
      // It takes nothing back.
      await nextRecord();
      expect((await replicas.leader()).name).toBe(leader.name);
    }
    await writers.stop();
    await writers.expectPublished({ stack, feed });
    expect(feed.epochs).toEqual(epochs);
  });

  it('[I1] [I2] from a leader that cannot reach the API server any more', LONG, async () => {
    const epochs = feed.epochs;
    const [first, second] = await pair();
    const writers = new Writers({ url: stack.postgres, clients: 2, perSecond: 200 });
    await nextRecord();
    first.toApi.cut();
    await eventually(async () => expect(await second.readyz()).toEqual([200, 'streaming']), soon);
    await eventually(async () => expect(await second.metric('evictions_total')).toBeGreaterThan(0), soon);
    // It does not know who leads, only that it cannot work.
    await eventually(async () => expect((await first.readyz())[0]).toBe(503), soon);
    await nextRecord();
    expect(await second.metric('restarts_total')).toBeNaN();
    first.toApi.heal();
    await eventually(
      async () => expect(await first.readyz()).toEqual([200, expect.stringContaining('standby: second_')]),
      soon,
    );
    await writers.stop();
    await writers.expectPublished({ stack, feed });
    expect(feed.epochs).toEqual(epochs);
  });
  it('[I1] from a leader that cannot reach Postgres, which lets others try', LONG, async () => {
    const epochs = feed.epochs;
    const [first, second] = await pair();
    const writers = new Writers({ url: stack.postgres, clients: 2, perSecond: 200 });
    await nextRecord();
    const atMs = performance.now();
    first.toPostgres.cut();
    expect(await replicas.leader({ butNot: first })).toBe(second);
    process.stderr.write(
      `cut off from Postgres to the successor's first record: ${Math.round(performance.now() - atMs)} ms\n`,
    );
    await eventually(
      async () => expect(await first.readyz()).toEqual([200, expect.stringContaining('standby: second_')]),
      soon,
    );
    first.toPostgres.heal();
    await writers.stop();
    await writers.expectPublished({ stack, feed });
    expect(feed.epochs).toEqual(epochs);
  });
});

describe('while the API server is away', () => {
  it('[I1] the leader goes on, not sure, and in its term afterwards', LONG, async () => {
    const epochs = feed.epochs;
    const [first, second] = await pair();
    const writers = new Writers({ url: stack.postgres, clients: 2, perSecond: 200 });
    cluster.apiserver.pause();
    await eventually(async () => expect(await first.metric('leader_sure')).toBe(0), soon);
    // Longer than the lease lasts.
    const endMs = performance.now() + SHORT_LEASE_MS + 1000;
    while (performance.now() < endMs) await nextRecord();
    expect(await first.readyz()).toEqual([200, 'streaming']);
    cluster.apiserver.resume();
    await eventually(async () => expect(await first.metric('leader_sure')).toBe(1), soon);
    expect([await first.metric('leader_term'), await second.metric('leader')]).toEqual([0, 0]);
    await writers.stop();
    await writers.expectPublished({ stack, feed });
    expect(feed.epochs).toEqual(epochs);
  });

  it('[I1] nobody takes over from a leader that dies, and a standby does once it is back', LONG, async () => {
    const epochs = feed.epochs;
    const [first, second] = await pair();
    const writers = new Writers({ url: stack.postgres, clients: 2, perSecond: 200 });
    cluster.apiserver.hold();
    await cluster.apiserver.kill();
    await first.kill();
    await eventually(
      async () => expect(await second.metric('lease_attempts_total{outcome="failed"}')).toBeGreaterThan(3),
      soon,
    );
    expect(await second.readyz()).toEqual([200, expect.stringContaining('standby: first_')]);
    await cluster.apiserver.release();
    expect(await replicas.leader()).toBe(second);
    await writers.stop();
    await writers.expectPublished({ stack, feed });
    expect(feed.epochs).toEqual(epochs);
  });
});

describe('any replica', () => {
  it('takes purges and knows the position, a standby too', LONG, async () => {
    const [first, second] = await pair();
    const position = async (replica: Replica) => {
      const response = await fetch(`${replica.url}/v1/position`);
      return { status: response.status, ...((await response.json()) as { epoch: number; source: string }) };
    };
    expect(await position(second)).toMatchObject({ status: 200, source: 'main', epoch: feed.epochs.at(-1) });
    expect((await position(first)).epoch).toBe((await position(second)).epoch);
    const answer = await fetch(`${second.url}/v1/purge`, {
      method: 'POST',
      body: '{"purge":[{"namespace":"items","keys":["17"]}]}',
    });
    expect(answer.status).toBe(200);
    const { lsn } = (await answer.json()) as { lsn: string };
    await feed.reaches(lsn, soon.withinMs);
    expect(feed.batches.flatMap(({ purges }) => purges)).toContainEqual(
      expect.objectContaining({ namespace: 'items', keys: ['17'] }),
    );
  });
});

it('says what is wrong with its times before it begins', async () => {
  await expect(replicas.start('hasty', { ...SHORT, TIDEMARK_LEASE_DURATION: '6s' })).rejects.toThrow(
    /the lease lasts 6000 ms, expected more than the renew deadline of 6000 ms: mend TIDEMARK_LEASE_DURATION/,
  );
});

it('is not ready as long as it knows nothing of the lease, and says why', LONG, async () => {
  cluster.apiserver.hold();
  await cluster.apiserver.kill();
  const starting = replicas.start('early');
  const early = await replicas.known('early');
  await eventually(
    async () =>
      expect(await early.readyz()).toEqual([503, expect.stringMatching(/^starting: lease default\/tidemark-\d+: /)]),
    soon,
  );
  expect((await fetch(`${early.url}/livez`)).status).toBe(200);
  await cluster.apiserver.release();
  await starting;
  expect(await early.readyz()).toEqual([200, 'streaming']);
});
