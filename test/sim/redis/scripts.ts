import { isTagged, type Lsn } from '@tidemark/proto';
import {
  ADOPT_SCRIPT,
  APPLY_SCRIPT,
  BEGIN_SCRIPT,
  FILL_SCRIPT,
  GET_TAGGED_SCRIPT,
  parseHeader,
  parsePair,
  PROMOTE_SCRIPT,
  type LogHeader,
} from '@tidemark/proto/redis';
import type { RedisArgument } from '@tidemark/runtime';
import { textOf, type RedisData } from './keyspace.ts';

type Arguments = readonly RedisArgument[];
type Script = (redis: RedisData, keys: readonly string[], args: Arguments) => unknown;

const SENTINEL = '';

/**
 * The scripts of the protocol in TypeScript, line by line, for a simulation that makes thousands of calls a second. That
 * they are the same is what test/contract/redis-log.test.ts shows on a real Redis.
 */
const SCRIPTS: ReadonlyMap<string, Script> = new Map([
  [BEGIN_SCRIPT, begin],
  [ADOPT_SCRIPT, adopt],
  [APPLY_SCRIPT, apply],
  [FILL_SCRIPT, fill],
  [GET_TAGGED_SCRIPT, getTagged],
  [PROMOTE_SCRIPT, promote],
]);

/** Runs a script of the protocol by its Lua source. Throws for any other. */
export function runScript(redis: RedisData, source: string, keys: Arguments, args: Arguments): unknown {
  const script = SCRIPTS.get(source);
  if (script === undefined) throw new Error('the model of Redis does not know this script');
  return redis.transaction(() => script(redis, keys.map(textOf), args));
}

/** The commands that the services send beside scripts. */
export function runCommand(redis: RedisData, name: string, args: Arguments): unknown {
  const keys = args.map(textOf);
  switch (name) {
    case 'GET':
      return redis.bytes(keys[0] ?? '') ?? null;
    case 'MGET':
      return keys.map((key) => redis.bytes(key) ?? null);
    default:
      throw new Error(`the model of Redis does not know ${name}`);
  }
}

function begin(redis: RedisData, keys: readonly string[], args: Arguments): unknown {
  const [log = '', keyFences = '', tagFences = '', ...pairs] = keys;
  const [seen, generation = '', epoch = '', at = '', visible = '', offset = '', digest = ''] = args.map(textOf);
  const text = redis.text(log);
  if ((text ?? '') !== seen) return ['changed', text ?? null];
  redis.delete(keyFences, tagFences);
  redis.raise(keyFences, [[SENTINEL, Number.POSITIVE_INFINITY]]);
  redis.raise(tagFences, [[SENTINEL, Number.POSITIVE_INFINITY]]);
  for (const pair of pairs) redis.set(pair, `${generation} ${at} 0`);
  return ['ok', write(redis, log, ['1', generation, generation, epoch, at, at, at, visible, offset, digest, '-'])];
}

function adopt(redis: RedisData, keys: readonly string[], args: Arguments): unknown {
  const [log = '', ...pairs] = keys;
  const [generation, seen, adoption = '', digest = ''] = args.map(textOf);
  const text = redis.text(log);
  const header = headerOf(text);
  if (header === undefined || header.generation !== generation || header.adoption !== seen)
    return ['changed', text ?? null];
  for (const pair of pairs) {
    const state = pairOf(redis, pair, header.adoption) ?? { from: header.to, fence: 0 };
    redis.set(pair, `${adoption} ${state.from} ${state.fence}`);
  }
  return ['ok', writeHeader(redis, log, { ...header, adoption, digest, parts: '-' })];
}

function apply(redis: RedisData, keys: readonly string[], args: Arguments): unknown {
  const [log = '', keyFences = '', tagFences = ''] = keys;
  const texts = args.map(textOf);
  const [generation, adoption, epoch, , , , offset = '', , after = '-', part = '-'] = texts;
  const [from = 0, to = 0, visible = 0, most = 0] = [3, 4, 5, 7].map((i) => Number(texts[i]));
  const text = redis.text(log);
  const header = headerOf(text);
  if (header === undefined) return ['missing', text ?? null, 0];
  if (!isIntact(redis, keyFences) || !isIntact(redis, tagFences)) return ['damaged', text, 0];
  if (header.generation !== generation || header.adoption !== adoption || String(header.epoch) !== epoch)
    return ['changed', text, 0];
  if (from > header.to) return ['hole', text, 0];
  const isLast = part === '-';
  if (to <= header.to) {
    const next = Number(offset) > Number(header.offset) ? offset : header.offset;
    const told = isLast
      ? writeHeader(redis, log, { ...header, visible: Math.max(visible, header.visible), offset: next })
      : text;
    return ['duplicate', told, 0];
  }
  if (after !== '-' && after !== header.parts) return ['changed', text, 0];
  const pairs = Number(texts[10]);
  const fences = Number(texts[11]);
  for (let i = 0; i < pairs; i++) {
    const key = keys[3 + i] ?? '';
    const fence = Number(texts[12 + i]);
    const state = pairOf(redis, key, header.adoption);
    if (state === undefined) redis.set(key, `${header.adoption} ${header.to} ${fence}`);
    else if (fence > state.fence) redis.set(key, `${header.adoption} ${state.from} ${fence}`);
  }
  const at = 12 + pairs;
  const scored = (first: number, end: number): (readonly [string, number])[] =>
    Array.from({ length: (end - first) / 2 }, (_, i) => [texts[first + 2 * i + 1] ?? '', Number(texts[first + 2 * i])]);
  const keyScores = scored(at, at + 2 * fences);
  redis.raise(keyFences, keyScores);
  redis.raise(tagFences, scored(at + 2 * fences, texts.length));
  let deleted = 0;
  const chunks: string[] = [];
  keyScores.forEach(([, lsn], i) => {
    const key = keys[3 + pairs + i] ?? '';
    const entry = redis.bytes(key);
    if (entry !== undefined && entry.length > 0 && !(entry.length >= 12 && asOf(entry) >= lsn)) {
      deleted += redis.delete(key);
      chunks.push(...[chunksOf(entry) ?? []].flat());
    }
  });
  const trimmed = {
    ...header,
    from: trim(redis, keyFences, { from: header.from, most }),
    tagFrom: trim(redis, tagFences, { from: header.tagFrom, most }),
    parts: part,
  };
  const moved = isLast ? { ...trimmed, to, visible: Math.max(visible, header.visible), offset } : trimmed;
  return ['ok', writeHeader(redis, log, moved), deleted, chunks];
}

function fill(redis: RedisData, keys: readonly string[], args: Arguments): unknown {
  const [log = '', keyFences = '', tagFences = '', pair = '', entry = ''] = keys;
  const [generation, epoch, asOfText, , member = '', , ...tags] = args.map(textOf);
  const header = headerOf(redis.text(log));
  if (header === undefined || !isIntact(redis, keyFences) || !isIntact(redis, tagFences)) return 'missing';
  if (header.generation !== generation || String(header.epoch) !== epoch) return 'changed';
  const state = pairOf(redis, pair, header.adoption);
  if (state === undefined) return 'unknown';
  const at = Number(asOfText);
  if (at < header.from || at < state.from || (tags.length > 0 && at < header.tagFrom)) return 'old';
  if (state.fence > at) return 'fenced';
  if ((redis.score(keyFences, member) ?? 0) > at) return 'fenced';
  if (tags.some((tag) => (redis.score(tagFences, tag) ?? 0) > at)) return 'fenced';
  const present = redis.bytes(entry);
  if (present !== undefined && present.length >= 12 && asOf(present) > at) return 'newer';
  const chunks = chunksOf(present);
  redis.set(entry, args[5] as Buffer);
  return chunks === undefined ? 'ok' : ['ok', chunks];
}

function getTagged(redis: RedisData, keys: readonly string[], args: Arguments): unknown {
  const [log = '', tagFences = '', ...rest] = keys;
  const pairs = Number(textOf(args[0]));
  const logBytes = redis.bytes(log) ?? null;
  const header = headerOf(logBytes?.toString());
  const unfenced = (entry: string, prefix: string): Buffer | null => {
    const bytes = redis.bytes(entry);
    if (header === undefined || !bytes || bytes.length < 72 || !isIntact(redis, tagFences)) return null;
    if (asOf(bytes) < header.tagFrom) return null;
    let at = 72 + bytes.readUInt16BE(40) + bytes.readUInt16BE(42);
    for (let i = 0; isTagged(bytes) && i < bytes.readUInt16BE(44); i++) {
      const length = bytes.readUInt16BE(at);
      const tag = bytes.toString('utf8', at + 2, at + 2 + length);
      at += 2 + length;
      if ((redis.score(tagFences, prefix + tag) ?? 0) > asOf(bytes)) return null;
    }
    return bytes;
  };
  const states = rest.slice(0, pairs).map((pair) => redis.bytes(pair) ?? null);
  return [logBytes, ...states, ...rest.slice(pairs).map((entry, i) => unfenced(entry, textOf(args[1 + i])))];
}

function promote(redis: RedisData, keys: readonly string[], args: Arguments): unknown {
  const [log = '', tagFences = '', pair = '', entry = ''] = keys;
  const [generation, epoch, to] = args.slice(0, 3).map(textOf);
  const [seen, promoted] = args.slice(3, 5) as Buffer[];
  const tags = args.slice(5).map(textOf);
  const header = headerOf(redis.text(log));
  if (header === undefined || !isIntact(redis, tagFences)) return 'missing';
  if (header.generation !== generation || String(header.epoch) !== epoch || Number(to) > header.to) return 'changed';
  const present = redis.bytes(entry);
  if (seen === undefined || promoted === undefined || !present?.subarray(0, seen.length).equals(seen)) return 'changed';
  const at = asOf(seen);
  if (Number(to) <= at) return 'newer';
  const state = pairOf(redis, pair, header.adoption);
  if (state === undefined) return 'unknown';
  if (at < state.from || (tags.length > 0 && at < header.tagFrom)) return 'old';
  if (state.fence > at || tags.some((tag) => (redis.score(tagFences, tag) ?? 0) > at)) return 'fenced';
  redis.set(entry, Buffer.concat([promoted, present.subarray(promoted.length)]));
  return 'ok';
}

function headerOf(text: string | undefined): LogHeader | undefined {
  return text === undefined ? undefined : parseHeader(text);
}

function pairOf(redis: RedisData, key: string, adoption: string): { from: Lsn; fence: Lsn } | undefined {
  const text = redis.text(key);
  const state = text === undefined ? undefined : parsePair(text);
  return state?.adoption === adoption ? state : undefined;
}

function isIntact(redis: RedisData, key: string): boolean {
  return redis.score(key, SENTINEL) !== undefined;
}

function chunksOf(entry: Buffer | undefined): string | undefined {
  if (entry === undefined || entry.length < 72 || ((entry[2] ?? 0) & 8) === 0) return undefined;
  return `${entry.readUInt16BE(70)}:${entry.toString('latin1', entry.length - 16)}`;
}

function asOf(entry: Buffer): number {
  return entry.readDoubleBE(4);
}

function trim(redis: RedisData, key: string, { from, most }: { from: Lsn; most: number }): Lsn {
  const surplus = Math.min(redis.sortedSet(key).size - 1 - most, 10_000);
  return surplus <= 0 ? from : Math.max(from, redis.popLowest(key, surplus));
}

function writeHeader(redis: RedisData, key: string, h: LogHeader): string {
  const { generation, adoption, epoch, from, tagFrom, to, visible, offset, digest, parts } = h;
  return write(redis, key, ['1', generation, adoption, epoch, from, tagFrom, to, visible, offset, digest, parts]);
}

function write(redis: RedisData, key: string, parts: readonly (string | number)[]): string {
  const text = parts.join(' ');
  redis.set(key, text);
  return text;
}
