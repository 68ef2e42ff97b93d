/** Longest key, in bytes of UTF-8 after decoding (http-api). */
export const MAX_KEY_BYTES = 512;
export const CACHE_PREFIX = '/v1/cache/';
export const WRITE_PREFIX = '/v1/write/';

const SLASH = 0x2f;
const PERCENT = 0x25;
const QUERY = 0x3f;
const HASH = 0x23;

/** Where namespace and key stand in a path that needs no further checks; see {@link splitPath}. */
export interface PathParts {
  slash: number;
  escaped: boolean;
}

/**
 * Splits `/v1/cache/{namespace}/{key}`, or the same behind another prefix, into `parts` without allocating. False when the path has another form: a second
 * slash, a query, or bytes that must be percent-encoded (they would reach us as Latin-1 and name another key).
 */
export function splitPath(url: string, parts: PathParts, prefix: string = CACHE_PREFIX): boolean {
  if (!url.startsWith(prefix)) return false;
  let slash = 0;
  let escaped = false;
  for (let i = prefix.length; i < url.length; i++) {
    const char = url.charCodeAt(i);
    if (char === SLASH) {
      if (slash !== 0) return false;
      slash = i;
    } else if (char === PERCENT) {
      escaped = true;
    } else if (char === QUERY || char === HASH || char < 0x21 || char > 0x7e) {
      return false;
    }
  }
  parts.slash = slash;
  parts.escaped = escaped;
  return slash > prefix.length && slash < url.length - 1;
}

/** What is wrong with a key of so many bytes. */
export function keyIssue(bytes: number): string | undefined {
  if (bytes <= MAX_KEY_BYTES) return undefined;
  return `the key has ${bytes} bytes when decoded, at most ${MAX_KEY_BYTES} are allowed`;
}

export type AddressResult =
  | { readonly ok: true; readonly namespace: string; readonly key: string }
  | { readonly ok: false; readonly detail: string };

/** Reads the path with every check, and says what is wrong with it. */
export function parseAddress(url: string, prefix: string = CACHE_PREFIX): AddressResult {
  const parts: PathParts = { slash: 0, escaped: false };
  if (!splitPath(url, parts, prefix)) return { ok: false, detail: explain(url, prefix) };
  let key: string;
  try {
    key = decodeURIComponent(url.slice(parts.slash + 1));
  } catch {
    return { ok: false, detail: 'the key is not percent-encoded UTF-8' };
  }
  const bytes = Buffer.from(key);
  const issue = keyIssue(bytes.length);
  if (issue !== undefined) return { ok: false, detail: issue };
  // Read back from the bytes, because a slice of the URL would keep the whole URL in memory for as long as the key.
  return { ok: true, namespace: url.slice(prefix.length, parts.slash), key: bytes.toString() };
}

function explain(url: string, prefix: string): string {
  const path = url.slice(prefix.length);
  if (/[^!-~]/.test(path)) return 'bytes outside of visible ASCII must be percent-encoded';
  if (path.includes('?')) return 'a query is not understood here; a "?" that belongs to the key is written %3F';
  const slashes = path.split('/').length - 1;
  if (slashes > 1) return 'a "/" that belongs to the key is written %2F';
  return `expected ${prefix}{namespace}/{key}, neither of them empty`;
}
