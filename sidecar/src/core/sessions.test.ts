import { describe, expect, it } from 'vitest';
import { testCore, tokenOf, type TestCore } from '../testing/core.ts';
import type { PositionClient } from './ports.ts';
import type { Position, Target } from './position.ts';
import { Positions } from './positions.ts';
import { formatSession, parseSession } from './session-token.ts';
import { Sessions, type Unmet, type Visit } from './sessions.ts';

const TIMEOUT_MS = 1_000;

/** A core whose invalidator answers when it is told to. */
function world() {
  const core = testCore();
  const questions: ((answer: Position | { failed: string }) => void)[] = [];
  const client: PositionClient = { position: () => new Promise((resolve) => void questions.push(resolve)) };
  const positions = new Positions({ client, most: 5 });
  const { replica, watermark, clock } = core;
  const sessions = new Sessions({ source: 'main', replica, watermark, positions, clock, timeoutMs: TIMEOUT_MS });
  core.stream.say();
  const visit = (token: string | undefined, min?: Target): Visit =>
    sessions.visit({ token: token === undefined ? undefined : parseSession(token), min });
  const answer = async (position: Position | { failed: string }): Promise<void> => {
    questions.shift()?.(position);
    await Promise.resolve();
    await Promise.resolve();
  };
  return { ...core, positions, sessions, questions, visit, answer };
}

function gated(visit: Visit): { end: Unmet | 'open' | undefined; leave: () => void } {
  const state: { end: Unmet | 'open' | undefined; leave: () => void } = { end: undefined, leave: () => undefined };
  state.leave = visit.gate((unmet) => (state.end = unmet ?? 'open'));
  return state;
}

function filled(core: TestCore, loadedAt?: number): void {
  const lease = tokenOf(core.get('user', '1', 'reload'));
  expect(core.put('user', '1', lease, loadedAt === undefined ? {} : { loadedAt }).kind).toBe('stored');
}

function entryOf(core: TestCore) {
  const { outcome } = core.get('user', '1');
  if (outcome?.kind !== 'value') throw new Error('expected a value');
  return outcome.entry;
}

const at = (epoch: number, lsn: number, pending?: string): string =>
  formatSession(new Map([['main', { epoch, lsn, pending }]]));

describe('[I14] a request of a session', () => {
  it('is let in at once where everything was applied that the session has seen', () => {
    const { visit, replica, clock } = world();
    for (const token of ['new', at(1, replica.applied), `${at(1, 5)},${at(1, replica.applied)}`])
      expect(gated(visit(token)).end).toBe('open');
    expect(clock.timers).toBe(0);
  });

  it('waits for what was not applied yet, then is let in, and leaves nothing behind', () => {
    const { visit, replica, clock, stream, watermark, sessions } = world();
    const gate = gated(visit(at(1, replica.applied + 5)));
    expect([gate.end, watermark.waiting]).toEqual([undefined, 1]);
    stream.say();
    expect([gate.end, watermark.waiting, clock.timers, sessions.counters.waits]).toEqual(['open', 0, 0, 1]);
  });

  it('is told so when that takes too long; one that leaves is not', async () => {
    const { visit, replica, clock, watermark, sessions, answer } = world();
    const [stays, leaves] = [gated(visit(at(1, replica.applied + 5))), gated(visit(at(1, replica.applied + 5)))];
    leaves.leave();
    clock.advance(TIMEOUT_MS);
    expect([stays.end, leaves.end, watermark.waiting, clock.timers]).toEqual(['behind', undefined, 0, 0]);
    expect(sessions.counters.behind).toBe(1);
    await answer({ epoch: 1, lsn: 1 });
    expect(leaves.end).toBeUndefined();
  });

  it('after a miss asks for a position first, because the database was read since', async () => {
    const { visit, replica, stream, answer, questions } = world();
    const gate = gated(visit(at(1, 5, 'lease')));
    expect([gate.end, questions.length]).toEqual([undefined, 1]);
    await answer({ epoch: 1, lsn: replica.applied + 5 });
    expect(gate.end).toBeUndefined();
    stream.say();
    expect(gate.end).toBe('open');
  });

  it('asks too after a sidecar without a configuration has sent it to the database, and then no more', async () => {
    const { visit, replica, answer } = world();
    for (const before of [at(1, replica.applied), 'new']) {
      const visited = visit(`${before},1~*~1~0~*,1~other~3~A`);
      const gate = gated(visited);
      expect(gate.end).toBeUndefined();
      await answer({ epoch: 1, lsn: replica.applied });
      expect(gate.end).toBe('open');
      const after = parseSession(visited.token() ?? '');
      expect([...after.keys()].toSorted()).toEqual(['main', 'other']);
      expect(after.get('main')).toEqual({ epoch: 1, lsn: replica.applied, pending: undefined });
    }
  });

  it('is not answered from the cache where that position cannot be had', async () => {
    const { visit, answer } = world();
    for (const wrong of [{ failed: 'away' }, { epoch: 0, lsn: 1e9 }]) {
      const gate = gated(visit(at(1, 5, '*')));
      await answer(wrong);
      expect(gate.end).toBe('no-position');
    }
  });

  it('of an older epoch asks too: what was committed after the new one began may be known by an old name', async () => {
    const { visit, replica, stream, answer } = world();
    stream.say({ epoch: 2 });
    const gate = gated(visit(at(1, 1)));
    expect(gate.end).toBeUndefined();
    await answer({ epoch: 2, lsn: replica.applied + 5 });
    expect(gate.end).toBeUndefined();
    stream.say({ epoch: 2 });
    expect(gate.end).toBe('open');
  });

  it('of a newer epoch waits until that has begun here', () => {
    const { visit, stream } = world();
    const gate = gated(visit(at(2, 1)));
    stream.say();
    expect(gate.end).toBeUndefined();
    stream.say({ epoch: 2 });
    expect(gate.end).toBe('open');
  });

  it('whose epoch passes while it waits asks', async () => {
    const { visit, replica, stream, questions, answer } = world();
    const gate = gated(visit(at(1, replica.applied + 1_000)));
    stream.say({ epoch: 2 });
    expect([gate.end, questions.length]).toEqual([undefined, 1]);
    await answer({ epoch: 2, lsn: replica.applied });
    expect(gate.end).toBe('open');
  });

  it('does not wait for a position that the database has not reached: nothing can have been seen there', async () => {
    const { visit, replica, clock, answer } = world();
    const gate = gated(visit(at(1, 1e15)));
    clock.advance(20);
    await answer({ epoch: 1, lsn: replica.applied });
    expect(gate.end).toBe('open');
  });

  it('finds the door closed when too many wait, also for answers', () => {
    const { visit, replica } = world();
    for (let i = 0; i < 10; i++) gated(visit(at(1, replica.applied + 5)));
    expect(gated(visit(at(1, replica.applied + 5))).end).toBe('crowded');
    for (let i = 0; i < 5; i++) gated(visit(at(1, 5, '*')));
    expect(gated(visit(at(1, 5, '*'))).end).toBe('no-position');
  });
});

describe('[I14] a least position', () => {
  it('without an epoch is compared by its number, with one like a session', async () => {
    const { visit, replica, stream, answer } = world();
    expect(gated(visit(undefined, { epoch: undefined, lsn: replica.applied })).end).toBe('open');
    const later = gated(visit(undefined, { epoch: undefined, lsn: replica.applied + 5 }));
    const newer = gated(visit(undefined, { epoch: 2, lsn: 1 }));
    stream.say();
    expect([later.end, newer.end]).toEqual(['open', undefined]);
    stream.say({ epoch: 2 });
    expect(newer.end).toBe('open');
    const older = gated(visit(undefined, { epoch: 1, lsn: 1 }));
    await answer({ epoch: 2, lsn: replica.applied });
    expect(older.end).toBe('open');
    expect(visit(undefined, { epoch: 1, lsn: 1 }).token()).toBeUndefined();
  });
});

describe('[I14] what a session has seen', () => {
  it('is the position that a value was served under, and the newest that it may show', () => {
    const core = world();
    const { visit, replica } = core;
    filled(core, replica.applied + 3);
    const visited = visit('new');
    expect(visited.saw(entryOf(core))).toBe(true);
    expect(visited.token()).toBe(at(1, replica.applied + 3));
    core.stream.say();
    expect(visited.saw(entryOf(core))).toBe(true);
    expect(visited.token()).toBe(at(1, replica.applied));
  });

  it('is open where nobody knows what the value shows; that is learned once for all who read it later', async () => {
    const core = world();
    const { visit, replica, answer, questions } = core;
    filled(core);
    const [first, second] = [visit('new'), visit('new')];
    for (const visited of [first, second]) {
      expect(visited.saw(entryOf(core))).toBe(true);
      expect(visited.token()).toBe(at(1, replica.applied, '*'));
    }
    expect(questions.length).toBe(1);
    await answer({ epoch: 1, lsn: replica.applied + 7 });
    const third = visit('new');
    third.saw(entryOf(core));
    expect(third.token()).toBe(at(1, replica.applied + 7));
  });

  it('learns nothing from a position of another epoch', async () => {
    const core = world();
    filled(core);
    core.visit('new').saw(entryOf(core));
    await core.answer({ epoch: 2, lsn: 5 });
    expect(entryOf(core).loadedAt).toBeUndefined();
  });

  it('is never less than the lease says, whatever a caller claims of its load', () => {
    const core = world();
    filled(core, 1);
    expect(entryOf(core).loadedAt).toBe(core.replica.applied);
  });

  it('is open after a miss until the fill of its lease says how far the database was', () => {
    const { visit, replica } = world();
    const missed = visit('new');
    missed.missed('lease-1');
    expect(missed.token()).toBe(at(1, 0, 'lease-1'));
    const twice = visit(missed.token());
    twice.missed('lease-2');
    const [fills, fillsOther, fillsUntold] = [visit(missed.token()), visit(missed.token()), visit(missed.token())];
    fills.knows(replica.applied + 9, 'lease-1');
    fillsOther.knows(replica.applied + 9, 'lease-2');
    fillsUntold.knows(undefined, 'lease-1');
    expect([fills, fillsOther, fillsUntold, twice].map((each) => each.token())).toEqual([
      at(1, replica.applied + 9),
      at(1, replica.applied + 9, 'lease-1'),
      at(1, 0, '*'),
      at(1, 0, '*'),
    ]);
  });

  it('stays open where it was of another epoch', () => {
    const { visit, stream } = world();
    stream.say({ epoch: 2 });
    const old = visit(at(1, 7));
    old.knows(9, undefined);
    expect(old.token()).toBe(at(1, 7, '*'));
  });

  it('keeps a value back that is older, where W or the epoch changed between', () => {
    const core = world();
    filled(core);
    const entry = entryOf(core);
    expect(core.visit(at(1, core.replica.applied + 1)).saw(entry)).toBe(false);
    expect(core.visit(at(2, 1)).saw(entry)).toBe(false);
    expect(core.visit(undefined, { epoch: undefined, lsn: core.replica.applied + 1 }).saw(entry)).toBe(false);
  });

  it('of other sources travels along', () => {
    const { visit, replica } = world();
    const visited = visit('1~other~7~A');
    visited.knows(replica.applied);
    expect(parseSession(visited.token()!).get('other')).toEqual({ epoch: 7, lsn: 10, pending: undefined });
  });
});
