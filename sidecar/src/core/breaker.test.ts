import { describe, expect, it } from 'vitest';
import { Breaker } from './breaker.ts';
import type { Loaded } from './ports.ts';

const VALUE: Loaded = { kind: 'absent' };
const DOWN: Loaded = { kind: 'failed', why: 'unavailable', detail: 'gone' };

/** A breaker that opens after three failures for a second, and an origin that answers what it is told. */
function setUp() {
  const ends: ((loaded: Loaded) => void)[] = [];
  let nowMs = 0;
  const breaker = new Breaker({
    origin: { load: () => new Promise<Loaded>((resolve) => ends.push(resolve)) },
    clock: { monotonicMs: () => nowMs },
    failures: 3,
    forMs: 1000,
  });
  const load = (): Promise<Loaded> => breaker.load({ address: 'k', values: new Map(), atLeast: undefined });
  const ask = async (answer: Loaded): Promise<Loaded> => {
    const loading = load();
    ends.shift()?.(answer);
    return loading;
  };
  const pass = (ms: number): void => void (nowMs += ms);
  return { breaker, ends, load, ask, pass };
}

describe('a breaker', () => {
  it('opens after so many failures in a row, and asks nobody then', async () => {
    const { breaker, ends, load, ask } = setUp();
    for (const answer of [DOWN, DOWN, VALUE, DOWN, DOWN]) await ask(answer);
    expect(breaker.state).toBe('closed');
    await ask(DOWN);
    expect(breaker.state).toBe('open');
    expect(await load()).toMatchObject({ kind: 'failed', why: 'open' });
    expect(ends).toEqual([]);
  });

  it('lets a single one try after its time, and closes if that works', async () => {
    const { breaker, ends, load, ask, pass } = setUp();
    for (const answer of [DOWN, DOWN, DOWN]) await ask(answer);
    pass(1000);
    expect(breaker.state).toBe('half-open');
    const probe = load();
    expect(await load()).toMatchObject({ why: 'open' });
    ends.shift()?.(VALUE);
    expect(await probe).toBe(VALUE);
    expect(breaker.state).toBe('closed');
  });

  it('stays open for as long again if that fails', async () => {
    const { breaker, ask, pass } = setUp();
    for (const answer of [DOWN, DOWN, DOWN]) await ask(answer);
    pass(1000);
    await ask(DOWN);
    expect(breaker.state).toBe('open');
    pass(999);
    expect(breaker.state).toBe('open');
    pass(1);
    await ask(VALUE);
    expect(breaker.state).toBe('closed');
  });

  it('is not kept open by those that began before', async () => {
    const { breaker, ends, load, pass } = setUp();
    const all = [load(), load(), load(), load()];
    for (const end of ends.splice(0, 3)) end(DOWN);
    await all[2];
    pass(900);
    ends.shift()?.(DOWN);
    await all[3];
    pass(100);
    expect(breaker.state).toBe('half-open');
  });

  it('tells of a fault in the origin itself, and goes on', async () => {
    const faulty = new Breaker({
      origin: { load: () => Promise.reject(new TypeError('no such thing')) },
      ...{ clock: { monotonicMs: () => 0 }, failures: 1, forMs: 1000 },
    });
    for (let i = 0; i < 3; i += 1)
      expect(await faulty.load({ address: 'k', values: new Map(), atLeast: undefined })).toEqual({
        ...{ kind: 'failed', why: 'error', detail: 'the loader itself failed: TypeError: no such thing' },
      });
  });

  it('does not open for answers that concern one key, or for our own limits', async () => {
    const { breaker, ask } = setUp();
    for (const why of ['error', 'too-large', 'busy'] as const)
      for (let i = 0; i < 5; i += 1) await ask({ kind: 'failed', why, detail: '' });
    expect(breaker.state).toBe('closed');
  });
});
