import { parseLsn, type Lsn } from '@tidemark/proto';
import { shown } from '@tidemark/runtime';
import type { Lifetime } from '../core/freshness.ts';
import { keyIssue } from './address.ts';
import { MAX_TAG_BYTES, MAX_TAGS, parseContentType } from './fields.ts';
import { parseJson } from './json.ts';

/** Most keys that one batch reads and stores together. */
export const MAX_BATCH_ITEMS = 1000;

/** A value to store, as `PUT` takes it. */
export interface BatchPut extends Lifetime {
  readonly namespace: string;
  readonly key: string;
  readonly lease: string | undefined;
  readonly contentType: string;
  readonly tags: readonly string[];
  readonly sourceLsn: Lsn | undefined;
  readonly loadedAt: Lsn | undefined;
  readonly absent: boolean;
  readonly body: Uint8Array;
}

export interface BatchBody {
  readonly snapshot: boolean;
  readonly puts: readonly BatchPut[];
  /** Keys by namespace, in the order of the document. */
  readonly gets: readonly (readonly [namespace: string, keys: readonly string[]])[];
}

/** The document is no batch; the message names the place in it, what was found and what was expected. */
export class BatchError extends Error {
  override name = 'BatchError';
}

/** Reads the body of `POST /v1/batch`. Throws {@link BatchError}. */
export function parseBatch(bytes: Uint8Array): BatchBody {
  const document = parseJson(bytes);
  if (document === undefined) throw new BatchError('body: expected JSON in UTF-8');
  const { consistency, put = [], get = {} } = object('body', document, ['consistency', 'put', 'get']);
  if (consistency !== undefined && consistency !== 'snapshot') throw new BatchError('consistency: expected "snapshot"');
  const puts = list('put', put).map((each, i) => putOf(`put.${i}`, each));
  const gets = Object.entries(object('get', get)).map(([namespace, keys]) => {
    const at = `get.${brief(namespace)}`;
    return [namespace, list(at, keys).map((key, i) => keyOf(`${at}.${i}`, key))] as const;
  });
  const items = puts.length + gets.reduce((sum, [, keys]) => sum + keys.length, 0);
  if (items === 0 || items > MAX_BATCH_ITEMS)
    throw new BatchError(`body: found ${items} keys, expected 1 to ${MAX_BATCH_ITEMS}`);
  return { snapshot: consistency === 'snapshot', puts, gets };
}

const PUT_MEMBERS = [
  ...['namespace', 'key', 'lease', 'text', 'base64', 'absent', 'contentType', 'tags'],
  ...['maxAge', 'staleWhileRevalidate', 'staleIfError', 'sourceLsn', 'loadedAt'],
];

function putOf(at: string, found: unknown): BatchPut {
  const put = object(at, found, PUT_MEMBERS);
  const { absent = false } = put;
  if (typeof absent !== 'boolean') throw new BatchError(`${at}.absent: expected true or false`);
  return {
    namespace: text(`${at}.namespace`, put['namespace']),
    key: keyOf(`${at}.key`, put['key']),
    lease: put['lease'] === undefined ? undefined : text(`${at}.lease`, put['lease']),
    contentType: contentTypeOf(at, put['contentType']),
    tags: tagsOf(`${at}.tags`, put['tags']),
    maxAgeMs: secondsOf(`${at}.maxAge`, put['maxAge'], 1),
    staleWhileRevalidateMs: secondsOf(`${at}.staleWhileRevalidate`, put['staleWhileRevalidate'], 0),
    staleIfErrorMs: secondsOf(`${at}.staleIfError`, put['staleIfError'], 0),
    sourceLsn: lsnOf(`${at}.sourceLsn`, put['sourceLsn']),
    loadedAt: lsnOf(`${at}.loadedAt`, put['loadedAt']),
    absent,
    body: bodyOf(at, put, absent),
  };
}

/** In milliseconds. */
function secondsOf(at: string, found: unknown, least: number): number | undefined {
  if (found === undefined) return undefined;
  if (Number.isSafeInteger(found) && (found as number) >= least) return (found as number) * 1000;
  throw new BatchError(`${at}: expected a whole number of seconds, at least ${least}`);
}

/** Exactly one of text, base64 and absent. The memory is the entry's own. */
function bodyOf(at: string, put: Readonly<Record<string, unknown>>, absent: boolean): Uint8Array {
  const { text: utf8, base64 } = put;
  if ([utf8 !== undefined, base64 !== undefined, absent].filter(Boolean).length !== 1)
    throw new BatchError(`${at}: expected one of text, base64 and absent: true`);
  if (absent) return new Uint8Array(0);
  if (utf8 !== undefined) return owned(Buffer.from(text(`${at}.text`, utf8, 0)));
  const encoded = text(`${at}.base64`, base64, 0);
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(encoded) || encoded.length % 4 !== 0)
    throw new BatchError(`${at}.base64: expected base64 with padding`);
  return owned(Buffer.from(encoded, 'base64'));
}

function owned(bytes: Buffer): Uint8Array {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}

function tagsOf(at: string, found: unknown): readonly string[] {
  if (found === undefined) return [];
  const tags = new Set(list(at, found).map((tag, i) => text(`${at}.${i}`, tag)));
  if (tags.size > MAX_TAGS) throw new BatchError(`${at}: found ${tags.size} tags, expected at most ${MAX_TAGS}`);
  for (const tag of tags)
    if (Buffer.byteLength(tag) > MAX_TAG_BYTES) throw new BatchError(`${at}: expected at most ${MAX_TAG_BYTES} bytes`);
  return [...tags];
}

function contentTypeOf(at: string, found: unknown): string {
  const field = found === undefined ? undefined : text(`${at}.contentType`, found);
  // It becomes a header of every later answer.
  if (field !== undefined && /[^\t\x20-\x7e]/.test(field)) throw new BatchError(`${at}.contentType: expected ASCII`);
  try {
    return parseContentType(field);
  } catch (error) {
    throw new BatchError(`${at}.contentType: ${(error as Error).message}`);
  }
}

function lsnOf(at: string, found: unknown): Lsn | undefined {
  if (found === undefined) return undefined;
  try {
    return parseLsn(text(at, found));
  } catch (error) {
    throw new BatchError(`${at}: ${(error as Error).message}`);
  }
}

function keyOf(at: string, found: unknown): string {
  const key = text(at, found);
  const issue = keyIssue(Buffer.byteLength(key));
  if (issue !== undefined) throw new BatchError(`${at}: ${issue}`);
  return key;
}

function text(at: string, found: unknown, least = 1): string {
  // A lone surrogate could not be encoded, and would name something else.
  if (typeof found !== 'string' || found.length < least || !found.isWellFormed())
    throw new BatchError(`${at}: expected a text`);
  return found;
}

function list(at: string, found: unknown): readonly unknown[] {
  if (!Array.isArray(found) || found.length > MAX_BATCH_ITEMS)
    throw new BatchError(`${at}: expected a list of at most ${MAX_BATCH_ITEMS}`);
  return found;
}

function object(at: string, found: unknown, members?: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof found !== 'object' || found === null || Array.isArray(found))
    throw new BatchError(`${at}: expected an object`);
  const unknown = members && Object.keys(found).find((name) => !members.includes(name));
  if (unknown !== undefined)
    throw new BatchError(`${at}: found ${shown(unknown)}, expected only ${members?.join(', ') ?? ''}`);
  return found as Record<string, unknown>;
}

/** A name inside a place. */
function brief(name: string): string {
  return shown(name).slice(1, -1);
}
