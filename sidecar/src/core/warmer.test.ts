import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HandL2 } from '../testing/hand-l2.ts';
import { FAILED, keysTo, startWarming as start, value } from '../testing/warming.ts';

describe('a warming', () => {
  it('loads what is missing at its rate, and says how far it is', async () => {
    const { order, job, pass, loader, of } = start();
    const id = order({ keys: [...keysTo(300), 'k0'] });
    expect(job(id)).toMatchObject({ state: 'running', total: null, done: 0 });
    await pass(500);
    const { done = 0, rate = 0, total } = job(id) ?? {};
    expect([total, done > 90 && done < 112, rate > 180 && rate < 225]).toEqual([300, true, true]);
    await pass(1100);
    expect(job(id)).toMatchObject({ state: 'ended', end: 'done', done: 300, results: { loaded: 300 } });
    expect([loader.loaded.length, of('user').l1.entries]).toEqual([300, 300]);
    expect(of('user').counters).toMatchObject({ misses: 0, loaded: 0, hitsL1: 0 });
  });

  it('takes from L2 what is there, and leaves to callers what nobody here can load', async () => {
    const l2 = new HandL2();
    const { order, job, pass, replica, of, clock } = start({ l2, loader: undefined });
    const id = order({ keys: ['1', '2'] });
    await pass(50);
    const storedAtMs = clock.wallMs();
    const untilMs = storedAtMs + 30_000;
    const times = { storedAtMs, freshUntilMs: untilMs, expiresAtMs: untilMs, keepUntilMs: untilMs, loadMs: 0 };
    const texts = { contentType: 'text/plain', etag: '"e"', tags: [] };
    const entry = { ...times, ...texts, asOf: replica.visible, epoch: 1, absent: false, body: new Uint8Array() };
    const to = replica.applied;
    await l2.reads[0]?.answer({
      entry,
      generation: 'g',
      context: { log: `1 g a 1 0 0 ${to} ${to} 5 d -`, pair: 'a 0 0' },
    });
    await l2.reads[1]?.answer('lost');
    await pass(50);
    expect(job(id)).toMatchObject({ end: 'done', results: { shared: 1, absent: 1 } });
    expect([of('user').l1.entries, of('user').flights.size]).toEqual([1, 0]);
  });

  it('waits while what is read could not be kept, as right after a start', async () => {
    const { order, job, pass, stream, loader, of } = start();
    stream.say({ users: ['1'], visible: stream.to });
    const id = order({ keys: ['1'] });
    await pass(100, false);
    expect([job(id)?.state, loader.loaded]).toEqual(['running', []]);
    stream.say();
    await pass(500);
    expect(job(id)).toMatchObject({ end: 'done', results: { loaded: 1 } });
    expect(of('user').l1.entries).toBe(1);
  });

  it('[I5] keeps nothing that may lack a change that came meanwhile', async () => {
    const { order, job, pass, settle, loader, of, stream } = start();
    loader.holds = true;
    const id = order({ keys: ['1', '2'] });
    await pass(50);
    stream.say({ users: ['1'] });
    await settle();
    // Begun anew behind the change, before the first load has ended.
    loader.waiting.splice(0, 2).forEach((end) => end());
    await settle();
    expect([...of('user').l1.recent(9)].map(([key]) => key)).toEqual(['2']);
    loader.waiting.splice(0).forEach((end) => end());
    await pass(20);
    expect(job(id)).toMatchObject({ end: 'done', done: 2 });
    expect(loader.loaded).toEqual(['1', '2', '1']);
    expect(of('user').l1.entries).toBe(2);
  });

  it('[I3] [I5] leaves nothing in memory that lacks what was applied, whatever is warmed, read, announced and shown in whatever order', async () => {
    const key = fc.constantFrom('1', '2', '3');
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('warm', 'end', 'read'), key }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('announce', 'show'), key }) },
    );
    const run = async (steps: readonly { readonly do: string; readonly key: string }[]): Promise<void> => {
      const { order, loader, of, stream, replica, get, settle, clock } = start();
      const [announced, shown] = [new Map<string, number>(), new Map<string, number>()];
      loader.holds = true;
      loader.answer = (asked) => value(String(shown.get(asked) ?? 0));
      for (const { do: what, key: name } of steps) {
        if (what === 'warm') order({ keys: [name] });
        else if (what === 'read') get('user', name);
        else if (what === 'end') loader.waiting.shift()?.();
        else if (what === 'announce') {
          // In the stream before readers of the database see it.
          announced.set(name, (announced.get(name) ?? 0) + 1);
          stream.say({ users: [name], visible: replica.visible });
        } else {
          for (const [each, version] of announced) shown.set(each, version);
          stream.say();
        }
        await settle();
        clock.advance(10);
        await settle();
        for (const [held, entry] of of('user').l1.recent(9))
          expect(Number(Buffer.from(entry.body).toString())).toBeGreaterThanOrEqual(announced.get(held) ?? 0);
      }
    };
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), run), { numRuns: 150 });
  });

  it('hardly goes on while requests wait, and at once when they have gone', async () => {
    const { order, job, pass, loader, get, reader, of } = start();
    const { l1 } = of('user');
    loader.holds = true;
    const waiting = [get('user', 'slow'), get('user', 'slow'), get('user', 'slower')];
    loader.holds = false;
    const id = order({ keys: keysTo(100) });
    await pass(1000);
    expect(l1.entries).toBeGreaterThanOrEqual(3);
    expect(l1.entries).toBeLessThanOrEqual(5);
    for (const { waiter } of waiting) if (waiter !== undefined) reader.leave(waiter);
    await pass(700);
    expect(job(id)).toMatchObject({ end: 'done', done: 100 });
  });

  it('has no more keys under way than it may', async () => {
    const { order, job, pass, loader } = start();
    loader.holds = true;
    const id = order({ keys: keysTo(50) });
    // Longer than a caller waits for a value.
    await pass(9_000);
    expect(loader.waiting).toHaveLength(4);
    loader.holds = false;
    loader.waiting.splice(0).forEach((end) => end());
    await pass(1_000);
    expect(job(id)).toMatchObject({ end: 'done', results: { loaded: 50, failed: 0 } });
  });

  it('stops where memory would have to give something up', async () => {
    const { order, job, pass, loader, of } = start({ l1Bytes: '256KiB' });
    loader.answer = (key) => value(key, 10_000);
    const id = order({ keys: keysTo(100) });
    await pass(1000);
    expect(job(id)).toMatchObject({ state: 'ended', end: 'full' });
    expect(Object.values(of('user').l1.displaced)).toEqual([0, 0, 0, 0]);
    expect(of('user').l1.bytes).toBeGreaterThan(200_000);
  });

  it('stops where another namespace would have to give something up', async () => {
    const total = { bytes: 0, maxBytes: 256 * 1024, entries: 0, maxEntries: Number.POSITIVE_INFINITY };
    const { order, job, pass, loader, of } = start({ total });
    Object.defineProperty(total, 'bytes', { get: () => of('user').l1.bytes + 200 * 1024 });
    loader.answer = (key) => value(key, 10_000);
    const id = order({ keys: keysTo(100) });
    await pass(1000);
    expect(job(id)).toMatchObject({ state: 'ended', end: 'full' });
    expect(of('user').l1.bytes).toBeLessThan(56 * 1024);
  });

  it('leaves a connection to the origin to requests, where there are several', async () => {
    const load = { sql: 'select 1', params: [] };
    const warm = { concurrency: 16 };
    for (const [loadPool, expected] of [
      [1, 1],
      [4, 3],
      [100, 16],
    ] as const) {
      const { order, pass, loader } = start({ loadPool, user: { load, warm } });
      loader.holds = true;
      order({ keys: keysTo(50) });
      await pass(1000);
      expect(loader.waiting).toHaveLength(expected);
    }
    const http = { http: { url: 'http://127.0.0.1/{key}', connections: 3 } };
    const { order, pass, loader } = start({ loadPool: 100, user: { load: http, warm } });
    loader.holds = true;
    order({ keys: keysTo(50) });
    await pass(1000);
    expect(loader.waiting).toHaveLength(2);
  });

  it('gives up where nothing can be got', async () => {
    const { order, job, pass, loader } = start();
    loader.answer = () => FAILED;
    const id = order({ keys: keysTo(100) });
    await pass(1000);
    expect(job(id)).toMatchObject({ end: 'failing', detail: 'Postgres is away', results: { failed: 20 } });
  });

  it('waits for the stream, and for L2 where that is all there is, but not for ever', async () => {
    const { order, job, pass, stream } = start();
    await pass(6_000, false);
    const id = order({ keys: ['1'] });
    await pass(30_000, false);
    expect(job(id)).toMatchObject({ state: 'running', done: 0 });
    stream.say();
    await pass(300);
    expect(job(id)).toMatchObject({ end: 'done' });
    const without = start({ loader: undefined });
    const other = without.order({ keys: ['1'] });
    await without.pass(61_000);
    expect(without.job(other)).toMatchObject({
      end: 'unavailable',
      detail: 'nothing loads the values, and there is no L2 to get them from',
    });
  });

  it('lets others go first as long as it cannot go on', async () => {
    const { order, job, pass, stream, rules } = start();
    const covers = rules.namespaces.filter(({ name }) => name !== 'user').map(({ hash }) => hash);
    stream.say({ covers });
    const [stuck, other, third] = [
      order({ keys: ['1'] }),
      order({ namespace: 'list', keys: ['2'] }),
      order({ keys: ['3'] }),
    ];
    await pass(1_000, false);
    expect([job(stuck), job(other), job(third)]).toMatchObject([
      { state: 'running', done: 0 },
      { state: 'ended', end: 'done', done: 1 },
      { state: 'running', done: 0 },
    ]);
    stream.say();
    await pass(1_000);
    expect([job(stuck)?.end, job(third)?.end]).toEqual(['done', 'done']);
  });

  it('that waited long for another one looks again before it gives up', async () => {
    const { order, job, pass, stream, rules } = start();
    const covers = rules.namespaces.filter(({ name }) => name !== 'user').map(({ hash }) => hash);
    stream.say({ covers });
    const stuck = order({ keys: ['1'] });
    const other = order({ namespace: 'list', keys: keysTo(20_000) });
    while (job(other)?.state !== 'ended') {
      stream.say({ covers });
      await pass(20, false);
    }
    expect(job(stuck)).toMatchObject({ state: 'running' });
    stream.say();
    await pass(500);
    expect(job(stuck)).toMatchObject({ end: 'done' });
  });

  it('is ended by whoever asks, and the next one begins', async () => {
    const { order, job, pass, warmer, loader } = start();
    const [first, second] = [order({ keys: keysTo(1000) }), order({ keys: ['x'] })];
    await pass(100);
    expect([job(first)?.state, job(second)?.state]).toEqual(['running', 'waiting']);
    expect([warmer.cancel(first), warmer.cancel(first), warmer.cancel('unknown')]).toEqual([true, false, false]);
    await pass(100);
    expect([job(first)?.end, job(second)?.end]).toEqual(['cancelled', 'done']);
    expect(loader.loaded.length).toBeLessThan(40);
  });

  it('ends when its namespace has other settings', async () => {
    const { order, job, pass, configuration, config } = start();
    const id = order({ keys: keysTo(1000) });
    await pass(100);
    const user = { ...config.namespaces['user']!, maxItemBytes: 1000 };
    configuration.take({ ...config, namespaces: { ...config.namespaces, user } });
    await pass(50);
    expect(job(id)).toMatchObject({ end: 'unavailable', detail: 'its settings have changed' });
  });

  it('refuses to pile up', () => {
    const { order, warmer } = start();
    const ids = Array.from({ length: 70 }, () => order({ keys: keysTo(10) }));
    expect(ids.filter((id) => id !== 'none')).toHaveLength(64);
    warmer.cancelAll();
    expect(warmer.pending).toBe(0);
    for (let i = 0; i < 100; i += 1) warmer.cancel(order({ keys: ['x'] }));
    expect(warmer.jobs().length).toBeLessThanOrEqual(33);
    const large = Array.from({ length: 20 }, () => order({ keys: keysTo(10_000) }));
    expect(large.filter((id) => id !== 'none')).toHaveLength(10);
  });

  it('ends with the process, and none begins any more', async () => {
    const { order, job, pass, warmer, loader } = start();
    const id = order({ keys: keysTo(1000) });
    await pass(100);
    warmer.stop();
    const { length } = loader.loaded;
    expect([job(id)?.end, order({ keys: ['x'] })]).toEqual(['cancelled', 'none']);
    await pass(1_000);
    expect(loader.loaded).toHaveLength(length);
  });
});
