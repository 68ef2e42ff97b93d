import { parseLsn, type Lsn } from '@tidemark/proto';
import { MAX_KEY_BYTES } from './address.ts';

/** Most tags that one entry may have. */
export const MAX_TAGS = 64;
export const MAX_TAG_BYTES = MAX_KEY_BYTES;
const MAX_CONTENT_TYPE_CHARS = 255;
const DEFAULT_CONTENT_TYPE = 'application/octet-stream';

/** A header field that cannot be used; the message says what was expected. */
export class FieldError extends Error {
  override name = 'FieldError';
}

/**
 * Tags of `Surrogate-Key`, divided by spaces; each is percent-encoded UTF-8 like a key, since a rule may well make tags
 * with spaces, and a tag that is misread would never be evicted. Throws {@link FieldError}.
 */
export function parseTags(field: string | undefined): readonly string[] {
  if (field === undefined) return [];
  const tags = new Set<string>();
  for (const part of field.split(/[ \t]+/)) {
    if (part === '') continue;
    let tag: string;
    try {
      // Node gives header bytes as Latin-1.
      tag = decodeURIComponent(strictUtf8.decode(Buffer.from(part, 'latin1')));
    } catch {
      throw new FieldError(
        'Surrogate-Key: expected tags of percent-encoded UTF-8, divided by spaces (a "%" is written %25)',
      );
    }
    if (Buffer.byteLength(tag) > MAX_TAG_BYTES)
      throw new FieldError(`Surrogate-Key: expected tags of at most ${MAX_TAG_BYTES} bytes`);
    tags.add(tag);
  }
  if (tags.size > MAX_TAGS)
    throw new FieldError(`Surrogate-Key: found ${tags.size} tags, expected at most ${MAX_TAGS}`);
  return [...tags];
}

/** Node gives the bytes of a header as Latin-1; origins are to get text. Throws {@link FieldError}. */
export function textOf(name: string, field: string): string {
  try {
    return strictUtf8.decode(Buffer.from(field, 'latin1'));
  } catch {
    throw new FieldError(`${name}: expected UTF-8`);
  }
}

/** A byte-order mark is part of the text: rules would put it into their tags too. */
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A boolean of RFC 9651; absent means false. Throws {@link FieldError}. */
export function parseBoolean(name: string, field: string | undefined): boolean {
  if (field === undefined || field.trim() === '?0') return false;
  if (field.trim() === '?1') return true;
  throw new FieldError(`${name}: expected ?1 or ?0`);
}

/** Throws {@link FieldError}. */
export function parsePosition(name: string, field: string | undefined): Lsn | undefined {
  if (field === undefined) return undefined;
  try {
    return parseLsn(field.trim());
  } catch (error) {
    throw new FieldError(`${name}: ${(error as Error).message}`);
  }
}

/** Equal texts are one object, since thousands of entries have the same. Throws {@link FieldError}. */
export function parseContentType(field: string | undefined): string {
  if (field === undefined || field === '') return DEFAULT_CONTENT_TYPE;
  if (field.length > MAX_CONTENT_TYPE_CHARS)
    throw new FieldError(`Content-Type: expected at most ${MAX_CONTENT_TYPE_CHARS} characters`);
  const known = contentTypes.get(field);
  if (known !== undefined) return known;
  if (contentTypes.size < MAX_KNOWN_CONTENT_TYPES) contentTypes.set(field, field);
  return field;
}

const contentTypes = new Map<string, string>();
const MAX_KNOWN_CONTENT_TYPES = 256;
