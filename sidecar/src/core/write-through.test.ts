import { describe, expect, it } from 'vitest';
import { testCore, tokenOf } from '../testing/core.ts';
import { OwnWrites } from './own-writes.ts';
import type { Position } from './position.ts';
import { Positions } from './positions.ts';
import { WriteThrough, type Executed } from './write-through.ts';
import type { Written } from './writer.ts';

// Writes whose transaction ends when a test says so. That all of it holds together is shown by test/sim/writes.

const MIB = 1024 * 1024;

function writing(options: { most?: number; maxBytes?: number } = {}) {
  const core = testCore({ maxItemBytes: '2MiB', l1Bytes: '16MiB' });
  const { replica, evictor, marks, clock, coalescer, filler, namespaces, random, stream, of } = core;
  const answers: (Position | { failed: string })[] = [];
  let asked = 0;
  const client = {
    position: () => {
      asked += 1;
      return Promise.resolve(answers.shift() ?? { failed: 'away' });
    },
  };
  const own = new OwnWrites({ replica, most: options.most ?? 100, maxBytes: options.maxBytes ?? 100 * MIB });
  evictor.spare(own);
  const positions = new Positions({ client, most: 10 });
  const parts = { namespaces, replica, filler, coalescer, positions, marks, clock, own };
  let count = 0;
  const unique = { ...random, token: () => `t${(count += 1)}` };
  const through = new WriteThrough({ ...parts, random: unique, etagOf: () => '"e"' });
  stream.say();
  /** Begins a write of `user`; the first answer ends its transaction. */
  const begin = (
    key: string,
    body = 'written',
  ): [end: (executed?: Partial<Executed>) => void, written: Promise<Written>] => {
    const { promise, resolve } = Promise.withResolvers<Executed>();
    const writer = through.writer({ headers: [], put: () => promise });
    const { signal } = new AbortController();
    const request = { namespace: of('user'), key, headers: {}, signal, contentType: '', tags: [], maxAgeMs: undefined };
    const written = writer.put?.({ ...request, body: Buffer.from(body) }) as Promise<Written>;
    const value = { kind: 'value', body: Buffer.from(body), contentType: '', tags: [] } as const;
    const usual = { kind: 'committed', created: undefined, lsn: stream.to + 5, timeline: 1, value } as const;
    return [(executed) => resolve({ ...usual, ...executed } as Executed), written];
  };
  const say = (said: Parameters<typeof stream.say>[0] = {}): void => {
    stream.say(said);
    through.applied();
  };
  const l1 = (key: string): string | undefined => {
    const entry = of('user').l1.get(key);
    return entry && Buffer.from(entry.body).toString();
  };
  return { ...core, own, through, answers, asked: () => asked, begin, say, l1 };
}

describe('a position that an endpoint tells', () => {
  it.each([
    ['far ahead of the stream', (to: number) => to + 2 ** 40],
    ['before the write began', (to: number) => to - 1],
    ['of nothing', () => 0],
  ])('%s is not believed: the invalidator is asked', async (_, told) => {
    const { begin, answers, stream } = writing();
    const [end, written] = begin('1');
    answers.push({ epoch: 1, lsn: stream.to + 7 });
    end({ lsn: told(stream.to), timeline: undefined });
    expect(await written).toMatchObject({ kind: 'written', lsn: stream.to + 7 });
  });

  it('that can be is', async () => {
    const { begin, stream } = writing();
    const [end, written] = begin('1');
    end({ lsn: stream.to + 3, timeline: undefined });
    expect(await written).toMatchObject({ kind: 'written', lsn: stream.to + 3 });
  });
});

describe('a write that nobody can place', () => {
  const unplaced = { lsn: 'ask', timeline: undefined } as const;

  it('lets nothing be kept under its key until the invalidator can say', async () => {
    const { begin, get, put, answers, clock, stream, through, say, l1 } = writing();
    const before = tokenOf(get('user', '1'));
    const [end, written] = begin('1');
    end(unplaced);
    expect(await written).toMatchObject({ kind: 'written', lsn: undefined });
    expect(put('user', '1', before)).toMatchObject({ kind: 'refused' });
    say();
    const meanwhile = get('user', '1').outcome;
    expect(meanwhile).not.toMatchObject({ lease: expect.anything() });
    expect(through.unplaced).toBe(1);
    answers.push({ epoch: 1, lsn: stream.to + 5 });
    clock.advance(250);
    await Promise.resolve();
    await Promise.resolve();
    say();
    expect(through.unplaced).toBe(0);
    expect(put('user', '1', tokenOf(get('user', '1')), { body: 'loaded' })).toMatchObject({ kind: 'stored' });
    expect(l1('1')).toBe('loaded');
  });

  it('is placed by its mark', async () => {
    const { begin, get, put, say } = writing();
    const [end, written] = begin('1');
    end(unplaced);
    await written;
    say({ users: ['1'], marks: ['write:t1'] });
    expect(put('user', '1', tokenOf(get('user', '1')))).toMatchObject({ kind: 'stored' });
  });

  it('is one of many that are asked for at once', async () => {
    const { begin, asked, answers, clock, stream, through } = writing();
    for (const key of ['1', '2', '3']) {
      const [end, written] = begin(key);
      end(unplaced);
      await written;
    }
    const before = asked();
    answers.push({ epoch: 1, lsn: stream.to + 5 });
    clock.advance(250);
    await Promise.resolve();
    await Promise.resolve();
    expect([asked() - before, through.unplaced]).toEqual([1, 0]);
  });

  it('is not waited for for ever', async () => {
    const { begin, get, put, clock, say } = writing();
    const [end, written] = begin('1');
    end(unplaced);
    await written;
    for (let i = 0; i <= 41; i++) {
      clock.advance(250);
      for (let turns = 0; turns < 4; turns++) await Promise.resolve();
    }
    say();
    expect(put('user', '1', tokenOf(get('user', '1')))).toMatchObject({ kind: 'stored' });
  });
});

it('[I16] [I18] a write that outlives its namespace is known to the one that took its place', async () => {
  const { begin, get, put, configuration, config } = writing();
  const [end, written] = begin('1');
  const { user, ...others } = config.namespaces;
  configuration.take({
    ...config,
    namespaces: { ...others, user: { ...(user as NonNullable<typeof user>), maxItemBytes: 1000 } },
  });
  const before = tokenOf(get('user', '1'));
  end();
  expect(await written).toMatchObject({ kind: 'written' });
  expect(put('user', '1', before, { body: 'old' })).toMatchObject({ kind: 'refused' });
});

describe('what is remembered of a write', () => {
  it('goes once the stream has passed it, though it told nothing of it; the value stays', async () => {
    const { begin, own, say, l1 } = writing();
    const [end, written] = begin('1');
    end();
    await written;
    expect(own.size).toBe(1);
    say();
    expect([own.size, own.fates.kept, l1('1')]).toEqual([0, 1, 'written']);
  });

  it('holds no more bytes than it may', async () => {
    const { begin, own, stream } = writing({ maxBytes: 3 * MIB });
    for (const key of ['1', '2', '3', '4', '5']) {
      const [end, written] = begin(key, 'x'.repeat(MIB));
      end({ lsn: stream.to + 100 });
      await written;
    }
    expect([own.size <= 3, own.fates.forgotten >= 2]).toEqual([true, true]);
  });

  it('[I18] is of one commit: another one with the same mark is somebody else', async () => {
    const { begin, own, say, l1 } = writing();
    const [end, written] = begin('1');
    // The endpoint has done it, and a job of the application has kept the mark and does something more.
    say({ users: ['1'], marks: ['write:t1'] });
    say({ users: ['1'], marks: ['write:t1'] });
    end({ lsn: 5_000 });
    await written;
    expect([l1('1'), own.fates.spoiled]).toEqual([undefined, 1]);
  });

  it('[I18] is of one commit, also where that was told before a later write began', async () => {
    const { begin, say, l1 } = writing();
    const [end, written] = begin('1');
    end({ lsn: 5_000 });
    await written;
    const [again, second] = begin('1', 'newer');
    say({ users: ['1'], marks: ['write:t1'] });
    again({ lsn: 5_000 });
    await second;
    expect(l1('1')).toBe('newer');
    say({ users: ['1'], marks: ['write:t1'] });
    expect(l1('1')).toBeUndefined();
  });
});
