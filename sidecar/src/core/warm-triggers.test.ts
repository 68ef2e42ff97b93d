import { describe, expect, it } from 'vitest';
import { tokenOf } from '../testing/core.ts';
import { countingRandom } from '../testing/fakes.ts';
import { Dice } from '../testing/random.ts';
import { HandL2 } from '../testing/hand-l2.ts';
import { keysTo, startWarming as start } from '../testing/warming.ts';
import type { WarmOrder } from './warm-job.ts';
import type { HotList, KeySource } from './warm-ports.ts';
import { WarmTriggers } from './warm-triggers.ts';

describe('keys', () => {
  const hotList = (keys: readonly string[], available = true): HotList & { readonly told: string[][] } => ({
    available,
    told: [],
    add(_namespace, added) {
      this.told.push([...added]);
      return Promise.resolve();
    },
    read: (_namespace, most) => Promise.resolve(keys.slice(0, most)),
  });
  const user = { warm: { atStart: 2, every: '1m', sql: 'select id from users', most: 5 } };

  it('come from the list of what is read most, and from SQL where the first pod finds none', async () => {
    const keySource: KeySource = { keys: (_sql, most) => Promise.resolve(keysTo(most)) };
    const list = hotList(['a', 'b', 'c']);
    const some = start({ hotList: list, keySource, user });
    const triggers = new WarmTriggers({ ...some, hotList: list });
    triggers.check();
    triggers.check();
    await some.pass(100);
    expect(some.loader.loaded).toEqual(['a', 'b']);
    expect(some.warmer.jobs()).toMatchObject([{ by: 'start', what: 'hot', end: 'done' }]);
    const none = start({ hotList: hotList([]), keySource, user });
    none.order({ what: 'hot', by: 'start', most: 2 });
    await none.pass(100);
    expect(none.loader.loaded).toEqual(['k0', 'k1']);
  });

  it('are warmed again on schedule, and what is read here is told to others', async () => {
    const keySource: KeySource = { keys: (_sql, most) => Promise.resolve(keysTo(most)) };
    const list = hotList([]);
    const { pass, warmer, loader, get, clock, ...core } = start({ hotList: list, keySource, user });
    const triggers = new WarmTriggers({ ...core, clock, warmer, hotList: list });
    for (let i = 0; i < 200; i += 1) get('user', 'hot');
    await pass(5);
    for (let second = 0; second < 70; second += 1) {
      await pass(1000);
      triggers.check();
    }
    expect(warmer.jobs().map(({ by, what, end, total }) => [by, what, end, total])).toEqual([
      ['start', 'hot', 'done', 2],
      ['schedule', 'sql', 'done', 5],
    ]);
    expect(new Set(loader.loaded)).toEqual(new Set(['hot', ...keysTo(5)]));
    expect(list.told[0]).toEqual(['hot']);
  });

  it('are warmed at times of the day, on each of several pods at another moment', async () => {
    const keySource: KeySource = { keys: (_sql, most) => Promise.resolve(keysTo(most)) };
    const begun: string[] = [];
    for (const seed of [1, 2, 3]) {
      const warm = { ...user.warm, atStart: 0, every: undefined, cron: '*/5 * * * *', timezone: 'Europe/Berlin' };
      const some = start({ keySource, user: { warm } });
      const dice = countingRandom(new Dice(seed));
      const triggers = new WarmTriggers({ ...some, hotList: undefined, random: dice });
      const times: number[] = [];
      for (let second = 0; second < 700; second += 1) {
        triggers.check();
        const count = some.warmer.jobs().length;
        if (count > times.length) times.push(some.clock.wallMs());
        await some.pass(1000);
      }
      expect(times.length).toBeGreaterThanOrEqual(2);
      for (const at of times) expect(at % 300_000).toBeLessThan(31_000);
      expect(times[1]! - times[0]!).toBeGreaterThan(269_000);
      begun.push(times.join());
    }
    expect(new Set(begun).size).toBe(3);
  });

  it('are awaited from a Redis that is not there yet', async () => {
    const list = { ...hotList(['a']), available: false };
    const { pass, warmer, ...core } = start({ hotList: list, user });
    const triggers = new WarmTriggers({ ...core, warmer, hotList: list });
    triggers.check();
    expect(warmer.jobs()).toEqual([]);
    list.available = true;
    triggers.check();
    await pass(50);
    expect(warmer.jobs()).toMatchObject([{ by: 'start', results: { loaded: 1 } }]);
  });

  it('come from SQL where Redis stays away, and it is said where there is no SQL either', async () => {
    const keySource: KeySource = { keys: (_sql, most) => Promise.resolve(keysTo(most)) };
    const read: HotList['read'] = () => Promise.resolve({ failed: 'Redis is away' });
    const list = { ...hotList([], false), read };
    const bySql = start({ hotList: list, keySource, user: { warm: { ...user.warm, every: '1h' } } });
    const without = start({ hotList: list, user: { warm: {} } });
    for (const some of [bySql, without]) {
      const triggers = new WarmTriggers({ ...some, hotList: list });
      for (let second = 0; second < 61; second += 1) {
        triggers.check();
        await some.pass(1000);
      }
    }
    expect(bySql.loader.loaded.slice(0, 2)).toEqual(['k0', 'k1']);
    expect(bySql.warmer.jobs()[0]).toMatchObject({ by: 'start', end: 'done', total: 2 });
    expect(without.warmer.jobs()).toMatchObject([{ by: 'start', end: 'unavailable', detail: 'Redis is away' }]);
  });

  it('are not warmed again on schedule as long as the last time is not over', async () => {
    const keySource: KeySource = { keys: (_sql, most) => Promise.resolve(keysTo(most)) };
    const warm = { ...user.warm, atStart: 0, most: 150, rate: '1/s' };
    const some = start({ keySource, user: { warm } });
    const triggers = new WarmTriggers({ ...some, hotList: undefined });
    let most = 0;
    for (let second = 0; second < 400; second += 1) {
      await some.pass(1000);
      triggers.check();
      most = Math.max(most, some.warmer.pending);
    }
    expect(most).toBe(1);
    expect(some.warmer.jobs().length).toBeGreaterThan(1);
  });

  it.each<[Partial<WarmOrder>, string]>([
    [{ what: 'hot' }, 'there is no Redis to keep a list in'],
    [{ what: 'sql' }, 'the namespace has no warm.sql'],
    [{ what: 'keys', namespace: 'gone', keys: ['1'] }, 'the namespace is not served any more'],
  ])('that are not to be had end it: %j', async (of, detail) => {
    const { order, job, pass } = start();
    const id = order(of);
    await pass(10);
    expect(job(id)).toMatchObject({ end: 'unavailable', detail });
  });

  it('in L1 are not looked up again', async () => {
    const { get, put, order, job, pass } = start({ loader: undefined, l2: new HandL2() });
    put('user', '1', tokenOf(get('user', '1', 'reload')));
    const id = order({ keys: ['1'] });
    await pass(10);
    expect(job(id)).toMatchObject({ end: 'done', results: { present: 1 } });
  });
});
