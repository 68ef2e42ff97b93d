import { decodeEntry, encodeEntry, type Entry, type Lsn } from '@tidemark/proto';
import {
  APPLY_SCRIPT,
  applyCall,
  BEGIN_SCRIPT,
  beginCall,
  bucketKeys,
  fenceMember,
  FILL_SCRIPT,
  GET_TAGGED_SCRIPT,
  getTaggedCall,
  parseHeader,
  parsePair,
  PROMOTE_SCRIPT,
  promoteCall,
  type LogHeader,
} from '@tidemark/proto/redis';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { anEntry } from '../../sidecar/src/testing/entries.ts';
import { startRedis, type RedisServer } from '../kit/index.ts';

// SPEC I12, check by check: what each of them refuses, and that without it an entry would be served that lacks a change. The
// histories of redis-log.test.ts promote at random besides.

const pair = '00000000000000aa';
const keys = bucketKeys('main', 0);
let server: RedisServer;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis({ settings: { appendonly: 'no' } });
  redis = new Redis(server.url, { protocol: 2 });
});
afterAll(async () => {
  redis?.disconnect();
  await server?.stop();
});
beforeEach(() => redis.flushdb());

const entryAt = (asOf: Lsn, tags: readonly string[] = ['t']): Entry =>
  anEntry({ asOf, tags, body: Buffer.from('value') });

async function header(): Promise<LogHeader> {
  const found = parseHeader((await redis.get(keys.log)) ?? '');
  if (found === undefined) throw new Error('there is no log');
  return found;
}

/** A log that begins at 1000, with an entry as of then. */
async function begin(entry = entryAt(1000)): Promise<void> {
  const position = { epoch: 1, to: 1000, visible: 1000, nextOffset: 1 };
  const call = beginCall(keys, { position, seen: '', generation: 'g', digest: 'd', pairs: [pair] });
  await redis.eval(BEGIN_SCRIPT, call.keys.length, ...call.keys, ...call.args);
  await fill(entry);
}

async function fill(entry: Entry): Promise<void> {
  const fillKeys = [keys.log, keys.keyFences, keys.tagFences, keys.pair(pair), keys.entry('g', pair, 'k')];
  const args = ['g', 1, entry.asOf, 600_000, fenceMember(pair, 'k'), Buffer.from(encodeEntry(entry))];
  const tags = entry.tags.map((tag) => fenceMember(pair, tag));
  expect(await redis.eval(FILL_SCRIPT, fillKeys.length, ...fillKeys, ...args, ...tags)).toBe('ok');
}

interface Fences {
  readonly namespace?: Lsn;
  readonly key?: Lsn;
  readonly tags?: readonly (readonly [name: string, lsn: Lsn])[];
  readonly maxFences?: number;
}

async function apply(to: Lsn, { namespace = 0, key, tags = [], maxFences = 100 }: Fences): Promise<void> {
  const before = await header();
  const position = { epoch: 1, to, visible: to, nextOffset: 2 };
  const call = applyCall(keys, {
    ...{ header: before, position, from: before.to, maxFences, after: '-', part: '-' },
    pairs: [{ pair, lsn: namespace }],
    keyFences: key === undefined ? [] : [{ pair, name: 'k', lsn: key }],
    tagFences: tags.map(([name, lsn]) => ({ pair, name, lsn })),
  });
  const [status] = (await redis.eval(APPLY_SCRIPT, call.keys.length, ...call.keys, ...call.args)) as string[];
  expect(status).toBe('ok');
}

async function promote(script: string, entry: Entry, to: Lsn, generation = 'g'): Promise<unknown> {
  const call = promoteCall(keys, { generation, pair, name: 'k', entry, stored: encodeEntry(entry), to });
  const args = call.args.map((arg) => (arg instanceof Uint8Array ? Buffer.from(arg) : arg));
  return redis.eval(script, call.keys.length, ...call.keys, ...args);
}

/** The entry as a sidecar would get and take it. */
async function served(): Promise<Entry | undefined> {
  const call = getTaggedCall(keys, { pairs: [pair], entries: [{ generation: 'g', pair, name: 'k' }] });
  const answer = await redis.callBuffer('EVAL', GET_TAGGED_SCRIPT, call.keys.length, ...call.keys, ...call.args);
  const [, state, bytes] = answer as (Buffer | null)[];
  const known = parsePair(state?.toString() ?? '');
  const entry = bytes ? decodeEntry(bytes) : undefined;
  if (known === undefined || entry === undefined) return undefined;
  return entry.asOf < known.from || entry.asOf < known.fence ? undefined : entry;
}

it('[I12] what nothing forbids takes the position, and is served further', async () => {
  const entry = entryAt(1000, ['t', 'ü']);
  await begin(entry);
  await apply(2000, { tags: [['other', 1500]], namespace: 900 });
  expect(await promote(PROMOTE_SCRIPT, entry, 2000)).toBe('ok');
  expect(await served()).toEqual({ ...entry, asOf: 2000 });
  // The log forgets what it knew of tags when the entry was stored, and the entry is still there.
  await apply(3000, {
    tags: [
      ['x', 2100],
      ['y', 2200],
    ],
    maxFences: 2,
  });
  expect((await header()).tagFrom).toBe(1500);
  expect(await served()).toEqual({ ...entry, asOf: 2000 });
});

describe('[I12] is refused, and would be served without the check', () => {
  it.each<[name: string, status: string, check: string, prepare: () => Promise<Lsn>, after?: () => Promise<void>]>([
    [
      'over a fence on the namespace',
      'fenced',
      "if p.fence > asof then return 'fenced' end",
      async () => {
        await apply(2000, { namespace: 1500 });
        return 2000;
      },
    ],
    [
      'over a fence on a tag',
      'fenced',
      "if tag and tonumber(tag) > asof then return 'fenced' end",
      async () => {
        await apply(2000, { tags: [['t', 1500]] });
        return 2000;
      },
    ],
    [
      'from before what the log remembers of tags',
      'old',
      'or (#ARGV > 5 and asof < h.tagFrom)',
      async () => {
        await apply(2000, {
          tags: [
            ['t', 1500],
            ['x', 1600],
          ],
          maxFences: 1,
        });
        return 2000;
      },
    ],
    [
      'from before what the log remembers of the namespace',
      'old',
      'asof < p.from or',
      async () => {
        await apply(1500, { namespace: 1200 });
        await redis.del(keys.pair(pair));
        await apply(2000, {});
        return 2000;
      },
    ],
    [
      'beyond the log, when Redis went back since it was read',
      'changed',
      'or tonumber(ARGV[3]) > h.to',
      async () => 2000,
      () => apply(2000, { tags: [['t', 1500]] }),
    ],
  ])('%s', async (...scenario) => {
    const [, status, check, prepare, after] = scenario;
    expect(PROMOTE_SCRIPT).toContain(check);
    for (const [script, answer] of [
      [PROMOTE_SCRIPT, status],
      [PROMOTE_SCRIPT.replace(check, ''), 'ok'],
    ] as const) {
      await redis.flushdb();
      await begin();
      const to = await prepare();
      expect(await promote(script, entryAt(1000), to)).toBe(answer);
      await after?.();
      expect((await served())?.asOf).toBe(answer === 'ok' ? 2000 : undefined);
    }
  });

  it('back to where it was behind a fence that it is above', async () => {
    const check = "if tonumber(ARGV[3]) <= asof then return 'newer' end";
    for (const [script, answer] of [
      [PROMOTE_SCRIPT, 'newer'],
      [PROMOTE_SCRIPT.replace(check, ''), 'ok'],
    ] as const) {
      await redis.flushdb();
      await begin(entryAt(1800));
      await apply(2000, { key: 1500 });
      expect(await promote(script, entryAt(1800), 1000)).toBe(answer);
      expect((await served())?.asOf).toBe(answer === 'ok' ? 1000 : 1800);
    }
  });
});

it('[I12] is refused for another entry, and under another log', async () => {
  const entry = entryAt(1000);
  await begin(entry);
  await apply(2000, {});
  expect(await promote(PROMOTE_SCRIPT, { ...entry, etag: '"f"' }, 2000)).toBe('changed');
  expect(await promote(PROMOTE_SCRIPT, entryAt(1000, ['u']), 2000)).toBe('changed');
  expect(await promote(PROMOTE_SCRIPT, entry, 2000, 'h')).toBe('changed');
  expect(await promote(PROMOTE_SCRIPT, { ...entry, epoch: 2 }, 2000)).toBe('changed');
  expect(await redis.pttl(keys.entry('g', pair, 'k'))).toBeLessThanOrEqual(600_000);
  await redis.del(keys.entry('g', pair, 'k'));
  expect(await promote(PROMOTE_SCRIPT, entry, 2000)).toBe('changed');
  expect(await redis.exists(keys.entry('g', pair, 'k'))).toBe(0);
  await redis.del(keys.tagFences);
  expect(await promote(PROMOTE_SCRIPT, entry, 2000)).toBe('missing');
});
