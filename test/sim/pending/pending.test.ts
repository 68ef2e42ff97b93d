import { expect, it } from 'vitest';
import { Dice } from '../../../sidecar/src/testing/random.ts';
import { PendingSidecar, type Mutant } from './sidecar.ts';
import { World } from './world.ts';

// SPEC I19: two sidecars follow the topic of writes and the stream of changes at their own pace, miss parts of either, start anew, and hear
// late how far was flushed; the flusher flushes, commits become visible late, a failover takes commits back, Kafka forgets.
// While a sidecar answers reads, a write that was acknowledged is answered until its flush can be read and was applied, and
// not any more once V has passed it.

const STEPS = 400;
/** TIDEMARK_TEST_HISTORIES makes it a soak. */
const HISTORIES = Number(process.env['TIDEMARK_TEST_HISTORIES'] ?? '300');
const KEYS = ['a', 'b', 'c'];

interface Told {
  wrong: string | undefined;
  served: number;
  pending: number;
}

async function history(seed: number, mutant: Mutant = {}): Promise<Told> {
  const dice = new Dice(seed);
  const world = new World(dice);
  const told: Told = { wrong: undefined, served: 0, pending: 0 };
  const sidecars = [new PendingSidecar(world, dice, mutant), new PendingSidecar(world, dice, mutant)];
  /** Newest write of each key that a caller of each sidecar was told of. */
  const acknowledged = sidecars.map(() => new Map<string, number>());

  const check = (i: number, key: string): void => {
    const sidecar = sidecars[i] as PendingSidecar;
    if (!sidecar.serves) return;
    told.served += 1;
    const entry = sidecar.get(key);
    const { applied, visible } = sidecar.replica;
    const found =
      entry === undefined
        ? -1
        : world.writes.findLastIndex((write, n) => write.key === key && n % 251 === entry.body[0]);
    if (found >= 0) {
      told.pending += 1;
      if (world.epoch === sidecar.replica.epoch && world.flushedAt(found) <= visible)
        told.wrong ??= `${key}: the write at ${found} is answered, and was flushed at ${world.flushedAt(found)} <= V = ${visible}`;
    }
    const known = world.writes.findLastIndex((write, n) => write.key === key && n < sidecar.seenEnd);
    const newest = Math.max(known, acknowledged[i]?.get(key) ?? -1);
    if (newest <= found || world.epoch !== sidecar.replica.epoch) return;
    const at = world.flushedAt(newest);
    if (at > applied || at > world.visible)
      told.wrong ??= `${key}: the write at ${newest} is not answered (${found} is), flushed at ${at}, W = ${applied}, seen up to ${world.visible}`;
  };

  for (let step = 0; step < STEPS && told.wrong === undefined; step++) {
    const i = dice.below(sidecars.length);
    const sidecar = sidecars[i] as PendingSidecar;
    const key = dice.pick(KEYS);
    const what = dice.below(100);
    if (what < 14) {
      // A sidecar that does not know what waits takes no writes.
      if (!sidecar.serves) continue;
      const offset = world.append(key);
      const acks = acknowledged[i] as Map<string, number>;
      sidecar.acknowledge(offset, () => acks.set(key, Math.max(offset, acks.get(key) ?? -1)));
    } else if (what < 22) world.flush();
    else if (what < 24) world.commit();
    else if (what < 34) world.see();
    else if (what < 44) world.publish();
    else if (what < 59) sidecar.hear();
    else if (what < 74) sidecar.read();
    else if (what < 84) await sidecar.answer();
    else if (what < 85 && dice.chance(0.3)) world.failOver();
    else if (what < 86) world.forget();
    else if (what < 87 && dice.chance(0.5)) {
      sidecars[i] = new PendingSidecar(world, dice, mutant);
      acknowledged[i]?.clear();
    } else for (const each of KEYS) check(i, each);
  }
  if (told.wrong === undefined) told.wrong = await afterwards(world, sidecars);
  return told;
}

/** Once nothing fails any more, everything is flushed, and every sidecar knows that nothing waits. */
async function afterwards(world: World, sidecars: readonly PendingSidecar[]): Promise<string | undefined> {
  for (let round = 0; round < 200; round++) {
    world.flush();
    world.commit();
    world.see();
    world.publish();
    for (const sidecar of sidecars) {
      sidecar.hear();
      await sidecar.answer();
      sidecar.read();
    }
    const rested = sidecars.every((sidecar) => sidecar.serves && KEYS.every((key) => sidecar.get(key) === undefined));
    if (rested && world.progress === world.end) return undefined;
  }
  return 'a sidecar does not come to rest';
}

it('[I19] what is acknowledged is answered until its flush is, and no longer', { timeout: 400_000 }, async () => {
  let served = 0;
  let pending = 0;
  for (let seed = 1; seed <= HISTORIES; seed++) {
    const told = await history(seed);
    expect(told.wrong, `seed ${seed}`).toBeUndefined();
    served += told.served;
    pending += told.pending;
  }
  // The histories are about something.
  expect(served / HISTORIES).toBeGreaterThan(20);
  expect(pending / HISTORIES).toBeGreaterThan(3);
});

const MUTANTS: readonly (keyof Mutant)[] = [
  'goesWithApplied',
  'asksTooEarly',
  'forgetsEarlyMarks',
  'ignoresBreaks',
  'servesEarly',
  'ignoresPosition',
  'asksInReverse',
  'beginsAtEnd',
  'acknowledgesEarly',
  'dropsSilently',
  'skipsLost',
];

it.each(MUTANTS)('[I19] the histories find it when %s', { timeout: 400_000 }, async (name) => {
  for (let seed = 1; seed <= 3_000; seed++) {
    if ((await history(seed, { [name]: true })).wrong !== undefined) return;
  }
  expect.unreachable(`${name} was not found in 3,000 histories`);
});
