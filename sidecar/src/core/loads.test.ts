import { beforeEach, describe, expect, it } from 'vitest';
import { testCore, type Read, type TestCore } from '../testing/core.ts';
import { HandLoader } from '../testing/hand-loader.ts';
import { SharedL2 } from '../testing/shared-l2.ts';
import type { Loaded } from './ports.ts';

const FAILED: Loaded = { kind: 'failed', why: 'error', detail: 'it broke' };
let loader: HandLoader;
let core: TestCore;
function start(user: Record<string, unknown> = {}): void {
  loader = new HandLoader();
  core = testCore({ loaders: { user: loader, plain: loader }, user });
  core.stream.say();
}
beforeEach(() => start());

async function ticks(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
}

function seen({ outcome }: Read): unknown {
  if (outcome?.kind !== 'value') return outcome;
  const { entry, from, collapsed = false } = outcome;
  return [from, Buffer.from(entry.body).toString(), collapsed];
}

describe('a key that is missing', () => {
  it('is loaded once, for everybody who waits', async () => {
    const reads = [core.get('user', '1'), core.get('user', '1'), core.get('user', '1')];
    expect([loader.begun, loader.open[0]?.key]).toEqual([1, '1']);
    await loader.end('one');
    expect(reads.map(seen)).toEqual([
      ['loaded', 'one', false],
      ['loaded', 'one', true],
      ['loaded', 'one', true],
    ]);
    expect(seen(core.get('user', '1'))).toEqual(['l1', 'one', false]);
  });

  it('is for the caller where it is none that the loader handles', () => {
    expect(core.get('user', 'not-mine').outcome).toMatchObject({ kind: 'miss', lease: { key: 'not-mine' } });
    expect(loader.begun).toBe(0);
  });

  it('is loaded without a lease where the namespace is ttl_only', async () => {
    const read = core.get('plain', '1');
    await loader.end('one');
    expect(seen(read)).toEqual(['loaded', 'one', false]);
  });

  it('is remembered as absent where there is no row', async () => {
    const read = core.get('user', '1');
    await loader.end({ kind: 'absent' });
    expect(read.outcome).toMatchObject({ kind: 'value', from: 'loaded', entry: { absent: true } });
    expect(core.get('user', '1').outcome).toMatchObject({ from: 'l1', entry: { absent: true } });
    expect(loader.begun).toBe(1);
  });

  it('fails for all who wait, once, and for those who come right after; then one tries again', async () => {
    const reads = [core.get('user', '1'), core.get('user', '1')];
    await loader.end(FAILED);
    reads.push(core.get('user', '1'));
    for (const read of reads) expect([read.outcome, read.settled]).toEqual([FAILED, 1]);
    core.clock.advance(99);
    expect(core.get('user', '1').outcome).toEqual(FAILED);
    expect(loader.begun).toBe(1);
    core.clock.advance(1);
    const again = core.get('user', '1');
    expect([again.outcome, loader.begun]).toEqual([undefined, 2]);
    await loader.end('one');
    expect(seen(again)).toEqual(['loaded', 'one', false]);
  });

  it('is not loaded for who takes only what is cached', () => {
    expect(core.get('user', '1', 'only-cached').outcome).toEqual({ kind: 'miss', lease: undefined });
    expect(loader.begun).toBe(0);
  });

  it('ends a wait that is too long, and the load still fills the cache', async () => {
    const read = core.get('user', '1');
    core.clock.advance(2_000);
    expect(read.outcome).toMatchObject({ kind: 'failed', why: 'timeout' });
    await loader.end('late');
    expect(seen(core.get('user', '1'))).toEqual(['l1', 'late', false]);
  });

  it('that is larger than the namespace allows is a failure', async () => {
    start({ maxItemBytes: '4B' });
    const read = core.get('user', '1');
    await loader.end('12345');
    expect(read.outcome).toMatchObject({
      ...{ kind: 'failed', why: 'too-large' },
      detail: 'found 5 bytes, expected at most 4 (maxItemBytes)',
    });
  });
});

describe('a caller who wants what the origin has', () => {
  it('has it loaded, whatever is cached', async () => {
    core.get('user', '1');
    await loader.end('one');
    const reload = core.get('user', '1', 'reload');
    expect([reload.outcome, loader.begun]).toEqual([undefined, 2]);
    await loader.end('two');
    expect([seen(reload), seen(core.get('user', '1'))]).toEqual([
      ['loaded', 'two', false],
      ['l1', 'two', false],
    ]);
  });

  it('is not content with a load that began before, which shows less', async () => {
    const usual = core.get('user', '1');
    const reloads = [core.get('user', '1', 'reload'), core.get('user', '1', 'reload')];
    await loader.end('one');
    expect([seen(usual), ...reloads.map(({ outcome }) => outcome), loader.begun]).toEqual([
      ...[['loaded', 'one', false], undefined, undefined, 2],
    ]);
    await loader.end('two');
    expect(reloads.map(seen)).toEqual([
      ['loaded', 'two', false],
      ['loaded', 'two', true],
    ]);
    expect([core.coalescer.waiting, core.of('user').flights.size]).toEqual([0, 0]);
  });

  it('is not content with what others share', async () => {
    const shared = new SharedL2({ nowMs: () => 0 });
    const [other, own] = [new HandLoader(), new HandLoader()];
    const pod = (user: HandLoader): TestCore => testCore({ l2: shared.open(), loaders: { user } });
    const [first, second] = [pod(other), pod(own)];
    for (const { stream } of [first, second]) stream.say();
    shared.to = first.stream.to;
    first.get('user', '1');
    await ticks();
    await other.end('shared');
    const [usual, reload] = [second.get('user', '1'), second.get('user', '1', 'reload')];
    await ticks();
    expect([seen(usual), reload.outcome, own.begun]).toEqual([['l2', 'shared', false], undefined, 1]);
    await own.end('own');
    expect(seen(reload)).toEqual(['loaded', 'own', false]);
    expect([second.coalescer.waiting, second.of('user').flights.size]).toEqual([0, 0]);
  });
});

describe('a change while a value is loaded', () => {
  it('lets only those have the value who had asked before, and loads anew for the others', async () => {
    const early = core.get('user', '1');
    core.stream.say({ users: ['1'] });
    const late = core.get('user', '1');
    expect(loader.begun).toBe(2);
    await loader.end('before or after');
    expect([seen(early), late.outcome]).toEqual([['passed', 'before or after', false], undefined]);
    await loader.end('after');
    expect(seen(late)).toEqual(['loaded', 'after', false]);
    expect(seen(core.get('user', '1'))).toEqual(['l1', 'after', false]);
  });

  it('gives nobody what a standby showed', async () => {
    const read = core.get('user', '1');
    core.stream.say({ users: ['1'] });
    const body = Buffer.from('old');
    await loader.end({ kind: 'value', body, contentType: '', tags: [], sourceLsn: core.replica.applied - 10 });
    expect(read.outcome).toBeUndefined();
    await loader.end('new');
    expect(seen(read)).toEqual(['loaded', 'new', false]);
  });

  it('is waited for until readers see it (SPEC I3), and then one load begins', async () => {
    core.stream.say({ users: ['1'], visible: core.stream.to });
    const reads = [core.get('user', '1'), core.get('user', '1')];
    expect(loader.begun).toBe(0);
    core.stream.say();
    expect(loader.begun).toBe(1);
    await loader.end('new');
    expect(reads.map(seen)).toEqual([
      ['loaded', 'new', false],
      ['loaded', 'new', true],
    ]);
  });

  it('again and again ends after some loads, with the failure', async () => {
    const first = core.get('user', '1');
    core.stream.say({ users: ['1'] });
    const late = core.get('user', '1');
    for (let i = 0; i < 8 && loader.open.length > 0; i += 1) {
      core.stream.say({ users: ['1'] });
      await loader.end({ kind: 'value', body: Buffer.from('x'), contentType: '', tags: [], sourceLsn: 1 });
    }
    for (const read of [first, late]) expect(read.outcome).toMatchObject({ kind: 'failed', why: 'changing' });
    expect(core.of('user').flights.size).toBe(0);
  });
});

describe('an old value', () => {
  const soft = { ttl: { soft: '10s', hard: '60s', staleIfError: '1h', jitter: '0%' } };
  beforeEach(async () => {
    start(soft);
    core.get('user', '1');
    await loader.end('old');
  });

  it('is answered while one load in the background replaces it', async () => {
    core.clock.advance(10_000);
    core.stream.say();
    expect([core.get('user', '1'), core.get('user', '1')].map(seen)).toEqual([
      ['l1', 'old', false],
      ['l1', 'old', false],
    ]);
    expect([loader.begun, core.of('user').counters.refreshes]).toEqual([2, 1]);
    await loader.end('new');
    expect(seen(core.get('user', '1'))).toEqual(['l1', 'new', false]);
  });

  it('stands in for one that cannot be loaded, but not where a change is applied', async () => {
    core.clock.advance(60_000);
    core.stream.say();
    const read = core.get('user', '1');
    expect(read.outcome).toBeUndefined();
    await loader.end(FAILED);
    expect(seen(read)).toEqual(['stale', 'old', false]);
    const refused = core.get('user', '1', 'usual', { staleIfErrorMs: 1_000 });
    await loader.end(FAILED);
    expect(refused.outcome).toEqual({ ...FAILED, forward: 'stale' });
    core.stream.say({ users: ['1'] });
    const changed = core.get('user', '1');
    await loader.end(FAILED);
    expect(changed.outcome).toEqual(FAILED);
  });

  it('stands in where the load takes too long', () => {
    core.clock.advance(60_000);
    core.stream.say();
    const read = core.get('user', '1');
    core.clock.advance(2_000);
    expect(seen(read)).toEqual(['stale', 'old', false]);
  });

  it('is answered at once to who takes it, while it is loaded anew', () => {
    core.clock.advance(60_000);
    core.stream.say();
    expect(seen(core.get('user', '1', 'usual', { maxStaleMs: 60_000 }))).toEqual(['stale', 'old', false]);
    expect(loader.begun).toBe(2);
  });

  it('is loaded anew for who wants a younger one', async () => {
    core.clock.advance(5_000);
    core.stream.say();
    const read = core.get('user', '1', 'usual', { maxAgeMs: 1_000 });
    await loader.end('young');
    expect(seen(read)).toEqual(['loaded', 'young', false]);
  });
});

describe('grace', () => {
  const kept = { onInvalidate: 'stale', grace: { for: '30s', serve: 'on-error' } };
  beforeEach(async () => {
    start(kept);
    core.get('user', '1');
    await loader.end('old');
    core.stream.say({ users: ['1'] });
  });

  it('shows what was invalidated to who takes it, and loads it anew', async () => {
    expect(seen(core.get('user', '1', 'usual', { maxStaleMs: 1 }))).toEqual(['grace', 'old', false]);
    expect(loader.begun).toBe(2);
    await loader.end('new');
    expect(seen(core.get('user', '1', 'usual', { maxStaleMs: 1 }))).toEqual(['l1', 'new', false]);
    expect(core.of('user').grace?.entries).toBe(0);
  });

  it('stands in for what cannot be loaded, but never where the answer must be coherent', async () => {
    const read = core.get('user', '1');
    const coherent = core.get('user', '1', 'usual', { grace: false });
    await loader.end(FAILED);
    expect([seen(read), coherent.outcome]).toEqual([['grace', 'old', false], FAILED]);
  });
});
