import { beforeEach, describe, expect, it } from 'vitest';
import { testCore, WAIT_MS, type Read, type TestCore } from '../testing/core.ts';
import { HandL2 } from '../testing/hand-l2.ts';
import { HandLoader } from '../testing/hand-loader.ts';
import { Dice } from '../testing/random.ts';
import { SharedL2 } from '../testing/shared-l2.ts';
import type { Namespace } from './namespace.ts';
import type { Loaded, Loader } from './ports.ts';

/** TIDEMARK_TEST_HISTORIES makes it a soak. */
const HISTORIES = Number(process.env['TIDEMARK_TEST_HISTORIES'] ?? '30');

// Readers who want what the origin has (`no-cache`), beside others and beside what else brings a value.

let loader: HandLoader;
let core: TestCore;
beforeEach(() => {
  loader = new HandLoader();
  core = testCore({ loaders: { user: loader, plain: loader } });
  core.stream.say();
});

function bodyOf({ outcome }: Read): unknown {
  return outcome?.kind === 'value' ? Buffer.from(outcome.entry.body).toString() : outcome;
}

describe('a caller who wants what the origin has', () => {
  it('is answered however many come one after the other, each while the one before is answered', async () => {
    let last = core.get('user', '1', 'reload');
    for (let i = 0; i < 20; i += 1) {
      const next = core.get('user', '1', 'reload');
      await loader.end(`${i}`);
      expect(bodyOf(last)).toBe(`${i}`);
      last = next;
    }
    await loader.end('last');
    expect([bodyOf(last), loader.begun]).toEqual(['last', 21]);
    expect([core.coalescer.waiting, core.of('user').flights.size]).toEqual([0, 0]);
  });

  it('waits for the load that has begun for him, whatever is stored meanwhile', async () => {
    const reload = core.get('plain', '1', 'reload');
    for (let i = 0; i < 10; i += 1) core.put('plain', '1', undefined, { body: `put ${i}` });
    expect([reload.outcome, loader.begun]).toEqual([undefined, 1]);
    await loader.end('loaded');
    expect([bodyOf(reload), core.of('plain').flights.size]).toEqual(['loaded', 0]);
  });

  it('is not given what a load brings that had begun before, for others that are gone', async () => {
    core.get('plain', '1');
    core.put('plain', '1', undefined, { body: 'put' });
    const reload = core.get('plain', '1', 'reload');
    expect(loader.begun).toBe(2);
    await loader.end('before');
    expect(reload.outcome).toBeUndefined();
    await loader.end('after');
    expect([bodyOf(reload), loader.begun, core.of('plain').flights.size]).toEqual(['after', 2, 0]);
  });

  it('is loaded for once, and nothing comes back that L2 still had, where a value is stored while it is looked for there', async () => {
    const l2 = new HandL2();
    core = testCore({
      l2,
      loaders: { user: loader },
      user: { ttl: { hard: '60s', staleIfError: '1h', jitter: '0%' } },
    });
    core.stream.say();
    core.get('user', '1');
    core.get('user', '1', 'reload');
    const { epoch, visible: asOf, applied } = core.replica;
    const said = { namespace: core.of('user'), key: '1', token: undefined, tags: [], absent: false, etag: '"e"' };
    core.filler.written({ ...said, contentType: 'text/plain', body: Buffer.from('written') }, { asOf, epoch });
    const wallMs = core.clock.wallMs();
    const entry = { ...core.of('user').l1.get('1')!, body: Buffer.from('expired'), storedAtMs: wallMs - 100_000 };
    const times = { freshUntilMs: wallMs - 40_000, expiresAtMs: wallMs - 40_000, keepUntilMs: wallMs + 40_000 };
    const log = `${epoch} g a 1 0 0 ${applied} ${applied} 5 d -`;
    await l2.reads[0]?.answer({ entry: { ...entry, ...times }, generation: 'g', context: { log, pair: 'a 0 0' } });
    expect([bodyOf(core.get('user', '1')), loader.begun]).toEqual(['written', 1]);
  });
});

it('who takes only what is cached does not wait for a load, where there are no leases either', async () => {
  core.get('plain', '1');
  expect(core.get('plain', '1', 'only-cached').outcome).toEqual({ kind: 'miss', lease: undefined });
  await loader.end('one');
  expect(core.of('plain').flights.size).toBe(0);
});

it.each(['usual', 'reload'] as const)(
  'who reads a key that changes during each load is answered, however long that goes on: %s',
  async (mode) => {
    let last = core.get('user', '1', mode);
    for (let i = 0; i < 20; i += 1) {
      core.stream.say({ users: ['1'] });
      const next = core.get('user', '1', mode);
      await loader.end(`${i}`);
      core.stream.say({ users: ['1'] });
      await loader.end(`${i}`);
      expect([i, bodyOf(last)]).toEqual([i, `${i}`]);
      last = next;
    }
    while (loader.open.length > 0) await loader.end('last');
    expect([bodyOf(last), core.coalescer.waiting, core.of('user').flights.size]).toEqual(['last', 0, 0]);
  },
);

it('a key that changes more often than a load takes is loaded twice at a time at most, and answered', async () => {
  const first = core.get('user', '1');
  for (let i = 0; i < 20; i += 1) core.stream.say({ users: ['1'] });
  const late = core.get('user', '1');
  expect([first.outcome, loader.begun]).toEqual([undefined, 2]);
  await loader.end('one');
  expect([bodyOf(first), late.outcome, loader.begun]).toEqual(['one', undefined, 3]);
  await loader.end('two');
  await loader.end('three');
  expect([bodyOf(late), loader.begun, core.of('user').flights.size]).toEqual(['three', 3, 0]);
});

describe('[I21] whatever ends, comes, changes and goes in whatever order', () => {
  it(
    'who wants what the origin has is given what a load brings that began after he asked, everybody is answered in time, and nothing stays',
    { timeout: 300_000 },
    async () => {
      const counts = { reloads: 0, others: 0 };
      for (let seed = 1; seed <= HISTORIES; seed += 1) await history(seed, counts);
      // Otherwise it proves nothing.
      expect(counts.reloads).toBeGreaterThan(HISTORIES);
      expect(counts.others).toBeGreaterThan(HISTORIES);
    },
  );
});

/** A value says at which step its load began, or what it is instead. */
class SteppedLoader implements Loader {
  readonly open: ((loaded: Loaded) => void)[] = [];
  readonly #step: () => number;
  constructor(step: () => number) {
    this.#step = step;
  }
  handles = (): boolean => true;

  load(): Promise<Loaded> {
    const body = Buffer.from(`${this.#step()}`);
    const value = { kind: 'value', body, contentType: 'text/plain', tags: [] } as const;
    return new Promise((resolve) =>
      this.open.push((how) => resolve(how.kind === 'value' ? { ...how, ...value } : how)),
    );
  }
}

interface Asked {
  readonly pod: TestCore;
  readonly read: Read;
  readonly isReload: boolean;
  readonly step: number;
  readonly sinceMs: number;
  left: boolean;
}

const VALUE: Loaded = { kind: 'value', body: Buffer.alloc(0), contentType: '', tags: [] };
const BROKEN: Loaded = { kind: 'failed', why: 'error', detail: 'it broke' };

async function history(seed: number, counts: { reloads: number; others: number }): Promise<void> {
  const dice = new Dice(seed);
  let nowMs = 0;
  let step = 0;
  const work: (() => void)[] = [];
  const store = new SharedL2({
    nowMs: () => nowMs,
    later: (one) => void work.push(one),
    isLost: () => dice.chance(0.05),
  });
  const stepped = new SteppedLoader(() => step);
  const loaders = { user: stepped, plain: stepped };
  const pods = [0, 1].map(() => testCore({ l2: store.open(), lease: true, loaders }));
  for (const { stream } of pods) stream.say();
  const asked: Asked[] = [];
  const served = new Set<Namespace>();
  const isWaiting = ({ read, left }: Asked): boolean => !left && read.settled === 0;
  const end = (how: Loaded): void => dice.draw(stepped.open)?.(how);
  const advance = (ms: number): void => {
    nowMs += ms;
    for (const { clock } of pods) clock.advance(ms);
  };
  const check = (): void => {
    for (const { read, isReload, step: since, left, sinceMs } of asked) {
      const { outcome, settled } = read;
      const body = outcome?.kind === 'value' ? Number(Buffer.from(outcome.entry.body).toString()) : undefined;
      const isOlder = isReload && outcome?.kind === 'value' && outcome.from !== 'stale' && !((body ?? -1) >= since);
      const isLate = !left && settled === 0 && nowMs - sinceMs > WAIT_MS;
      if (isOlder || isLate || settled > (left ? 0 : 1))
        expect.fail(
          `seed ${seed}, step ${step}: ${JSON.stringify({ isReload, since, body, outcome, isLate, settled })}`,
        );
    }
  };
  for (step = 1; step <= 300; step += 1) {
    const roll = dice.below(100);
    const [pod, key, name] = [dice.pick(pods), dice.pick(['1', '2']), dice.pick(['user', 'user', 'plain'])];
    served.add(pod.of(name));
    if (roll < 30) {
      const mode = dice.pick(['usual', 'usual', 'reload', 'reload', 'only-cached'] as const);
      const read = pod.get(name, key, mode);
      asked.push({ pod, read, isReload: mode === 'reload', step, sinceMs: nowMs, left: false });
    } else if (roll < 33) {
      const one = dice.pick(asked.filter(isWaiting));
      if (one?.read.waiter !== undefined) {
        one.pod.reader.leave(one.read.waiter);
        one.left = true;
      }
    } else if (roll < 55) dice.draw(work)?.();
    else if (roll < 70) end(VALUE);
    else if (roll < 72) end(BROKEN);
    else if (roll < 73) end({ kind: 'value', body: Buffer.alloc(0), contentType: '', tags: [], maxAgeMs: 0 });
    else if (roll < 74) end({ kind: 'value', body: Buffer.alloc(0), contentType: '', tags: [], sourceLsn: 1 });
    else if (roll < 78) pod.put('plain', key, undefined, { body: 'put' });
    else if (roll < 82) {
      for (const { stream } of pods) stream.say({ users: [key], ...(dice.chance(0.3) && { visible: stream.to }) });
      store.apply(key, pod.stream.to - 5);
    } else if (roll < 90) for (const { stream } of pods) stream.say();
    else if (roll < 91) store.isUp = !store.isUp;
    else if (roll < 92) {
      pod.replica.lost();
      pod.coalescer.settleDoomed();
    } else if (roll < 93) {
      // Another document: the namespace begins anew.
      const { namespaces } = pod.config;
      const user = { ...namespaces['user']!, maxItemBytes: 1_000 + step };
      pod.configuration.take({ ...pod.config, namespaces: { ...namespaces, user } });
    } else advance(dice.below(dice.chance(0.1) ? WAIT_MS : 60));
    for (let i = 0; i < 20; i += 1) await Promise.resolve();
    check();
  }
  // Everything that is under way ends.
  store.isUp = true;
  for (let ms = 0; ms < 4 * WAIT_MS; ms += 10) {
    for (const one of work.splice(0)) one();
    for (const one of stepped.open.splice(0)) one(VALUE);
    advance(10);
    for (let i = 0; i < 20; i += 1) await Promise.resolve();
  }
  check();
  const left = pods.map(({ coalescer, clearance, clock, loads }) => [
    ...[coalescer.waiting, clearance.waiting, clock.timers, loads.underWay],
  ]);
  expect(left, `seed ${seed}`).toEqual(pods.map(() => [0, 0, 0, 0]));
  expect([...served].map(({ flights }) => flights.size).filter((size) => size > 0)).toEqual([]);
  expect(asked.filter(isWaiting)).toEqual([]);
  const values = asked.filter(({ read }) => read.outcome?.kind === 'value');
  counts.reloads += values.filter(({ isReload }) => isReload).length;
  counts.others += values.filter(({ read }) => read.outcome?.kind === 'value' && read.outcome.from === 'l2').length;
}
