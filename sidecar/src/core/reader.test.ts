import type { Entry } from '@tidemark/proto';
import { describe, expect, it } from 'vitest';
import { testCore, tokenOf, type TestCoreOptions } from '../testing/core.ts';
import { HandL2 } from '../testing/hand-l2.ts';
import { HandLoader } from '../testing/hand-loader.ts';
import type { L2Miss } from './l2-look.ts';
import type { L2Failure, L2Found } from './ports.ts';

function live(options: Pick<TestCoreOptions, 'loaders'> = {}) {
  const l2 = new HandL2();
  const core = testCore({ l2, ...options });
  core.stream.say();
  const { visible } = core.replica;
  const entry = (more: Partial<Entry> = {}): Entry => {
    const storedAtMs = core.clock.wallMs();
    const texts = { contentType: 'text/plain', etag: '"e"', tags: [] };
    return {
      asOf: visible,
      epoch: 1,
      storedAtMs,
      freshUntilMs: storedAtMs + 1000,
      expiresAtMs: storedAtMs + 1000,
      keepUntilMs: storedAtMs + 1000,
      loadMs: 0,
      absent: false,
      ...texts,
      body: Buffer.from('l2'),
      ...more,
    };
  };
  /** What Redis answers with a log that is at `to`. */
  const found = (more: Partial<Entry> = {}, to = core.replica.applied): L2Found => ({
    entry: entry(more),
    generation: 'g',
    context: { log: `1 g a 1 0 0 ${to} ${to} 5 d -`, pair: 'a 0 0' },
  });
  const nothing: L2Found = { entry: undefined, generation: 'g', context: { log: undefined, pair: undefined } };
  return { ...core, l2, entry, found, nothing };
}

describe('what L1 lacks', () => {
  it('is asked of Redis once, however many callers there are, and then served from L1', async () => {
    const { get, l2, found, of } = live();
    const reads = [get('user', '1'), get('user', '1'), get('user', '1', 'only-cached')];
    expect(l2.reads).toHaveLength(1);
    await l2.reads[0]!.answer(found());
    for (const read of reads) expect(read.outcome).toMatchObject({ kind: 'value', from: 'l2' });
    expect(get('user', '1').outcome).toMatchObject({ kind: 'value', from: 'l1' });
    expect(of('user').counters).toMatchObject({ hitsL2: 3, hitsL1: 1 });
  });

  it('and Redis lacks, is loaded by the first who asked', async () => {
    const { get, put, l2, nothing } = live();
    const [only, first, second] = [get('user', '1', 'only-cached'), get('user', '1'), get('user', '1')];
    await l2.reads[0]!.answer(nothing);
    expect(only.outcome).toEqual({ kind: 'miss', lease: undefined });
    expect(second.outcome).toBeUndefined();
    put('user', '1', tokenOf(first));
    expect(second.outcome).toMatchObject({ kind: 'value', from: 'coalesced' });
    expect(l2.filled).toEqual(['1']);
  });

  it('is not asked of a Redis that is away', () => {
    const { get, l2 } = live();
    l2.available = false;
    tokenOf(get('user', '1'));
    expect(l2.reads).toHaveLength(0);
  });

  it('is passed over when a change comes while Redis is asked', async () => {
    const { get, l2, found, stream, reader } = live();
    const read = get('user', '1');
    const late = found();
    stream.say({ users: ['1'] });
    await l2.reads[0]!.answer(late);
    tokenOf(read);
    expect(reader.l2Misses.get('fenced')).toBe(1);
  });

  it('is a bypass when the stream is lost while Redis is asked', async () => {
    const { get, l2, found, replica } = live();
    const read = get('user', '1');
    const late = found();
    replica.lost();
    await l2.reads[0]!.answer(late);
    expect(read.outcome).toEqual({ kind: 'bypass', why: 'starting' });
  });

  it('is taken from a fill that comes while Redis is asked', async () => {
    const { get, put, l2, found } = live();
    const read = get('user', '1');
    put('user', '1', tokenOf(get('user', '1', 'reload')), { body: 'filled' });
    expect(read.outcome).toMatchObject({ from: 'coalesced', entry: { body: new TextEncoder().encode('filled') } });
    await l2.reads[0]!.answer(found());
    expect(read.settled).toBe(1);
    expect(get('user', '1').outcome).toMatchObject({ entry: { body: new TextEncoder().encode('filled') } });
  });

  it('is not taken, however old it is, by who says how old it may be', async () => {
    const { get, put, l2, found, clock } = live();
    const storedAtMs = clock.wallMs() - 30_000;
    const others = get('user', '1');
    const picky = get('user', '1', 'usual', { maxAgeMs: 3_000 });
    const onlooker = get('user', '1', 'only-cached', { minFreshMs: 2_000 });
    expect(onlooker.outcome).toEqual({ kind: 'miss', lease: undefined });
    await l2.reads[0]!.answer(found({ storedAtMs }));
    expect(others.outcome).toMatchObject({ kind: 'value', from: 'l2' });
    expect(put('user', '1', tokenOf(picky), { body: 'new' })).toMatchObject({ kind: 'stored' });
  });

  it('is loaded anew for who says how old it may be, where the sidecar loads', async () => {
    const loader = new HandLoader();
    const { get, l2, found, clock } = live({ loaders: { user: loader } });
    const others = get('user', '1');
    const picky = get('user', '1', 'usual', { maxAgeMs: 3_000 });
    await l2.reads[0]!.answer(found({ storedAtMs: clock.wallMs() - 30_000 }));
    expect([others.outcome, picky.outcome]).toMatchObject([{ kind: 'value', from: 'l2' }, undefined]);
    await loader.end('new');
    expect(picky.outcome).toMatchObject({ kind: 'value', from: 'loaded' });
  });

  it('is loaded by the next when the first has hung up meanwhile', async () => {
    const { get, l2, nothing, coalescer } = live();
    const [first, second] = [get('user', '1'), get('user', '1')];
    coalescer.leave(first.waiter!);
    await l2.reads[0]!.answer(nothing);
    expect(first.settled).toBe(0);
    tokenOf(second);
  });

  it('is not loaded for nobody', async () => {
    const { get, l2, nothing, coalescer, leases, of } = live();
    coalescer.leave(get('user', '1').waiter!);
    await l2.reads[0]!.answer(nothing);
    expect([leases.size, of('user').flights.size]).toEqual([0, 0]);
  });
});

describe('[I7] an entry of Redis is refused', () => {
  type Make = (core: ReturnType<typeof live> & { visible: number }) => L2Found | L2Failure;
  const cases: readonly (readonly [L2Miss, Make])[] = [
    ['no-log', ({ found }) => ({ ...found(), context: { log: undefined, pair: 'a 0 0' } })],
    ['no-log', ({ found }) => ({ ...found(), context: { log: 'of another version', pair: 'a 0 0' } })],
    ['generation', ({ found }) => ({ ...found(), generation: 'other' })],
    ['epoch', ({ found }) => found({ epoch: 2 })],
    ['behind', ({ found, replica }) => found({}, replica.horizon - 1)],
    ['namespace', ({ found }) => ({ ...found(), context: { ...found().context, pair: undefined } })],
    ['namespace', ({ found }) => ({ ...found(), context: { ...found().context, pair: 'older 0 0' } })],
    [
      'namespace',
      ({ found, visible }) => ({ ...found(), context: { ...found().context, pair: `a ${visible + 1} 0` } }),
    ],
    ['fenced', ({ found, visible }) => ({ ...found(), context: { ...found().context, pair: `a 0 ${visible + 1}` } })],
    ['expired', ({ found, clock }) => found({ expiresAtMs: clock.wallMs() })],
    ['lost', () => 'lost'],
    ['away', () => 'away'],
  ];

  it.each(cases)('%s', async (why, make) => {
    const core = live();
    const read = core.get('user', '1');
    await core.l2.reads[0]!.answer(make({ ...core, visible: core.replica.visible }));
    tokenOf(read);
    expect([...core.reader.l2Misses]).toEqual([[why, 1]]);
  });

  it('unless it is newer than everything that our memory knows', async () => {
    const { get, l2, found, stream, replica } = live();
    stream.say({ users: ['1'] });
    const read = get('user', '1');
    // Its position is behind the change, and so is the log's: Redis has checked it.
    await l2.reads[0]!.answer(found({ asOf: replica.applied }));
    expect(read.outcome).toMatchObject({ kind: 'value' });
  });
});

it('a namespace that opted out of coherence reads and writes plain entries', async () => {
  const { get, put, l2, entry, clock } = live();
  const read = get('plain', '1');
  l2.plainReads[0]!(entry({ asOf: 0, epoch: 0 }));
  await expect.poll(() => read.outcome).toMatchObject({ kind: 'value', from: 'l2' });
  clock.advance(1000);
  const again = get('plain', '1');
  l2.plainReads[1]!(entry({ expiresAtMs: clock.wallMs() }));
  await expect.poll(() => again.outcome).toEqual({ kind: 'miss', lease: undefined, forward: 'stale' });
  expect(put('plain', '1', undefined)).toMatchObject({ kind: 'stored' });
  expect(l2.filled).toEqual(['1']);
});

it('a fill of what was read earlier does not replace what was read later', () => {
  const { get, put, stream, l2, of } = live();
  l2.available = false;
  const early = tokenOf(get('user', '1'));
  stream.say();
  put('user', '1', tokenOf(get('user', '1', 'reload')), { body: 'later' });
  expect(put('user', '1', early, { body: 'earlier' })).toMatchObject({ kind: 'stored', created: false });
  expect(get('user', '1').outcome).toMatchObject({ entry: { body: new TextEncoder().encode('later') } });
  expect(of('user').counters.fills).toBe(2);
});
