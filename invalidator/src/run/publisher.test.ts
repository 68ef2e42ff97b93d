import { decodeBatch, type Batch } from '@tidemark/proto';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { systemClock } from '../adapters/system.ts';
import { DEFAULT_BOUNDS } from '../core/bounds.ts';
import { Outbox } from '../core/outbox.ts';
import { EVENTS, Harness, put, t } from '../core/testing/harness.ts';
import * as wire from '../core/testing/wire.ts';
import { VisibleClock } from '../core/visibility.ts';
import { Publisher } from './publisher.ts';
import { VisibilityWatch } from './visibility-watch.ts';

let outbox: Outbox;
let publisher: Publisher;
let watch: VisibilityWatch;
let harness: Harness;
let sent: Batch[];
let answers: PromiseWithResolvers<void>[];
let durable: number[];
let running: Promise<void>;

beforeEach(() => {
  [sent, answers, durable, harness] = [[], [], [], new Harness()];
  const tight = { ...DEFAULT_BOUNDS, maxCommits: 2 };
  outbox = new Outbox({ bounds: tight, maxPending: 2, from: 5 });
  watch = new VisibilityWatch({
    visible: new VisibleClock(5),
    clock: systemClock,
    ask: async () => new Set(),
    onSeen: () => undefined,
  });
  publisher = new Publisher({
    identity: { source: 'main', epoch: 3, systemId: 9n, timeline: 1 },
    outbox,
    watch,
    append: (bytes) => {
      const decoded = decodeBatch(bytes);
      if (decoded.kind === 'batch') sent.push(decoded.batch);
      const answer = Promise.withResolvers<void>();
      answers.push(answer);
      return answer.promise;
    },
    claimsAt: (from) => ({ covers: [BigInt(from)], catalog: [1n] }),
    onDurable: (to) => void durable.push(to),
    onRoom: () => undefined,
    onPublished: () => undefined,
    visible: 5,
    clock: systemClock,
  });
  running = publisher.run();
});

afterEach(async () => {
  publisher.abandon();
  watch.stop();
  answers.at(-1)?.resolve();
  await running.catch(() => undefined);
});

const eventually = (check: () => void) => vi.waitFor(check, { timeout: 60_000, interval: 5 });

function insert(id: string): void {
  put(outbox, harness.transaction(wire.insert(EVENTS, [t(id)])));
  publisher.poke(false);
}

/** Kafka acknowledges the record in flight. */
async function acknowledge(): Promise<void> {
  const { length } = answers;
  answers.at(-1)?.resolve();
  await eventually(() => expect(durable).toHaveLength(length));
}

it('[I2] keeps one record in flight, gathers the rest, and confirms nothing before Kafka has it', async () => {
  insert('1');
  await eventually(() => expect(sent).toHaveLength(1));
  for (const id of ['2', '3', '4']) insert(id);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(sent).toHaveLength(1);
  expect(durable).toEqual([]);
  await acknowledge();
  expect(durable).toEqual([18]);
  await eventually(() => expect(sent).toHaveLength(2));
  await acknowledge();
  await eventually(() => expect(sent).toHaveLength(3));
  expect(sent.map(({ from, to, commits }) => [from, to, commits])).toEqual([
    [5, 18, [18]],
    [18, 38, [28, 38]],
    [38, 48, [48]],
  ]);
  expect(sent.map(({ covers }) => covers)).toEqual([[5n], [18n], [38n]]);
});

it('sends a heartbeat when there is news, and a mere position after a while', async () => {
  publisher.poke(true);
  await eventually(() => expect(sent).toHaveLength(1));
  expect(sent[0]).toMatchObject({ from: 5, to: 5, heartbeat: true });
  await acknowledge();
  outbox.advance(9);
  publisher.poke(false);
  await eventually(() => expect(sent).toHaveLength(2));
  expect(sent[1]).toMatchObject({ from: 5, to: 9, visible: 9, heartbeat: true });
});

it('[I2] ends when a record cannot be appended, and never goes on to the next', async () => {
  insert('1');
  await eventually(() => expect(sent).toHaveLength(1));
  insert('2');
  answers[0]?.reject(new Error('not enough replicas'));
  await expect(running).rejects.toThrow('not enough replicas');
  expect([sent.length, durable.length]).toEqual([1, 0]);
});

it('publishes what waits before it stops', async () => {
  insert('1');
  await eventually(() => expect(sent).toHaveLength(1));
  insert('2');
  publisher.stop();
  await acknowledge();
  await eventually(() => expect(sent).toHaveLength(2));
  await acknowledge();
  await running;
  expect(durable).toEqual([18, 28]);
});
