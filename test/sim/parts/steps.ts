import type { Dice } from '../../../sidecar/src/testing/random.ts';
import { MAX_STALENESS_MS, ROWS } from './keys.ts';
import { purgeBySidecar } from './purge-by-sidecar.ts';
import type { World } from './world.ts';

type Step = readonly [weight: number, name: string, act: (world: World) => unknown];

/** What happens on any day. */
const USUAL: readonly Step[] = [
  [30, 'messages', (world) => world.deliver(1 + world.dice.below(6))],
  [14, 'get', (world) => world.get()],
  [14, 'load', (world) => world.advanceLoad()],
  [5, 'time', (world) => world.time.advance(world.dice.below(60))],
  [1, 'second', (world) => world.time.advance(world.dice.below(1_500))],
  [2.5, 'write', (world) => world.write()],
  [1, 'begin', (world) => world.begin()],
  [
    0.5,
    'commit',
    ({ primary, dice }) => {
      if (primary.open.length > 0) primary.commit(dice.pick(primary.open), dice.chance(0.4));
    },
  ],
  [1.5, 'show', (world) => world.show()],
  [2, 'replay', ({ primary, dice }) => (primary.replayed += dice.below(primary.insertLsn - primary.replayed + 1))],
  [
    2,
    'sync slot',
    ({ primary }) =>
      primary.slot && primary.slot.confirmed <= primary.replayed && (primary.syncedSlot = { ...primary.slot }),
  ],
  [0.4, 'delete', purgeBySidecar],
  [0.3, 'purge', (world) => world.primary.emit('purge', [world.purge()])],
  [0.5, 'other WAL', ({ primary, dice }) => (primary.insertLsn += dice.below(30))],
];

/** What goes wrong. Saved states of Redis are few: the newest is the one that comes back. */
const FAULTS: readonly Step[] = [
  [4, 'a connection hangs', (world) => world.network.hangOne(world.dice)],
  [3, 'connections go on', (world) => world.network.resume()],
  [4, 'cut a connection', (world) => world.network.cutOne(world.dice)],
  [3, 'restart a sidecar', (world) => world.restartSidecar()],
  [6, 'restart an invalidator', (world) => world.restartInvalidator()],
  [3, 'restart an applier', (world) => world.restartApplier()],
  [3, 'a process sleeps', (world) => (world.dice.pick(world.clocks).isAsleep = true)],
  [2, 'a sidecar sleeps for long', (world) => sleepForLong(world)],
  [4, 'a process wakes up', (world) => wakeOne(world)],
  [1, 'long silence', (world) => world.time.advance(2_000 + world.dice.below(9_000))],
  [1, 'a wall clock steps', ({ clocks, dice }) => (dice.pick(clocks).wallOffsetMs += dice.below(20_000) - 10_000)],
  [1.5, 'Redis is flushed', ({ redis }) => redis.data.transaction(() => redis.data.flush())],
  [4, 'Redis is saved', (world) => (world.saved = world.redis.data.snapshot())],
  [4, 'Redis is restored', (world) => world.saved && world.redis.data.restore(world.saved)],
  [4, 'Redis evicts', ({ redis, dice }) => redis.data.keys.length > 0 && redis.data.delete(dice.pick(redis.data.keys))],
  [6, 'Redis fails over', ({ redis, dice }) => redis.data.failOver(1 + dice.below(5))],
  [1, 'Redis goes or comes', ({ redis, dice }) => (redis.isUp = !redis.isUp || dice.chance(0.3))],
  [1, 'Kafka goes or comes', ({ topic, dice }) => (topic.isUp = !topic.isUp || dice.chance(0.3))],
  [2, 'Kafka repeats a record', ({ topic, dice }) => topic.repeat(dice.below(3))],
  [3, 'Kafka forgets old records', ({ topic, dice }) => topic.forgetOldest(dice.below(topic.records.length + 1))],
  [1.5, 'Kafka loses new records', ({ topic, dice }) => topic.loseNewest(1 + dice.below(3))],
  [0.6, 'the topic is made again', ({ topic }) => topic.recreate()],
  [1.5, 'Postgres restarts', (world) => world.restartPostgres()],
  [1, 'Postgres ends connections', (world) => world.dice.pick(world.invalidators).cutOff()],
  [4, 'the standby takes over', (world) => world.promote(world.dice.chance(0.5))],
  [1, 'old servers end', (world) => world.endOldServers()],
  [0.3, 'another cluster', (world) => world.reload()],
  [1, 'the slot is dropped', ({ primary }) => (primary.slot = undefined)],
  [1, 'the slot is lost', ({ primary }) => primary.slot && (primary.slot.isLost = true)],
  [1.5, 'DDL', ({ primary }) => primary.alterTable(ROWS)],
  [4, 'the table leaves the publication', ({ primary }) => primary.setPublished(false)],
  [1, 'the table comes back', ({ primary }) => primary.setPublished(true)],
];

/** What one history is like: each has its own few faults, so that some meet that seldom would among all. */
export interface Weather {
  readonly faultShare: number;
  readonly faults: readonly Step[];
}

/** Of every kind of fault about half, more or less often. */
export function weatherOf(dice: Dice): Weather {
  const faults = FAULTS.filter(() => dice.chance(0.5)).map(([weight, name, act]): Step => [
    weight * (0.3 + 2 * dice.fraction()),
    name,
    act,
  ]);
  return { faultShare: faults.length === 0 ? 0 : 0.02 + 0.1 * dice.fraction(), faults };
}

/** Does one thing. */
export async function takeStep(
  world: World,
  { faultShare, faults }: Weather,
): Promise<{ readonly name: string; readonly isFault: boolean }> {
  const isFault = world.dice.chance(faultShare);
  const steps = isFault ? faults : USUAL;
  let roll = world.dice.fraction() * steps.reduce((sum, [weight]) => sum + weight, 0);
  const [, name, act] = steps.find(([weight]) => (roll -= weight) < 0) as Step;
  await act(world);
  return { name, isFault };
}

/** Beside a step now and then a document is published, or one process hears of the newest one. */
export function changeConfiguration(world: World): string | undefined {
  if (world.dice.chance(0.015)) {
    world.published.another(world.dice);
    return 'another document is published';
  }
  if (!world.dice.chance(0.12)) return undefined;
  world.hear();
  return 'a process hears of the newest document';
}

/** What its socket holds when it wakes up is as old as its sleep; and it is asked at once. */
async function sleepForLong(world: World): Promise<void> {
  const { clock } = world.dice.pick(world.sidecars);
  clock.isAsleep = true;
  for (let i = 0; i < 2; i++) {
    world.write();
    await world.deliver(15);
  }
  await world.time.advance(MAX_STALENESS_MS + world.dice.below(1_000));
  clock.isAsleep = false;
  for (let i = 0; i < 8; i++) {
    await world.deliver(1);
    world.get();
  }
}

function wakeOne({ clocks, dice }: World): void {
  const asleep = clocks.filter(({ isAsleep }) => isAsleep);
  if (asleep.length > 0) dice.pick(asleep).isAsleep = false;
}
