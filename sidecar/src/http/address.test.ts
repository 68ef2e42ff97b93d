import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAddress, splitPath } from './address.ts';

const name = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,20}$/);
const key = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 60 })
  .filter((text) => text.isWellFormed() && Buffer.byteLength(text) <= 512);

it('every key of up to 512 bytes comes through encodeURIComponent unchanged', () => {
  fc.assert(
    fc.property(name, key, (namespace, text) => {
      expect(parseAddress(`/v1/cache/${namespace}/${encodeURIComponent(text)}`)).toEqual({
        ok: true,
        namespace,
        key: text,
      });
    }),
  );
});

it('every percent-encoding of a key means the same key', () => {
  const encode = (text: string): string =>
    [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
  fc.assert(
    fc.property(key, (text) => {
      expect(parseAddress(`/v1/cache/n/${encode(text)}`)).toEqual({ ok: true, namespace: 'n', key: text });
    }),
  );
});

it('never throws, and is never surer than the full check', () => {
  const part = fc.oneof(
    fc.string(),
    fc.constantFrom('/', '%', '?', '#', '%2F', '%ff', '%C3%A9', 'é', ' ', '\u0000', '..', 'x'),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
      const url = `/v1/cache/${parts.join('')}`;
      const result = parseAddress(url);
      if (result.ok) expect(splitPath(url, { slash: 0, escaped: false })).toBe(true);
      else expect(result.detail).not.toBe('');
    }),
  );
});

describe('refuses', () => {
  it.each([
    ['/v1/cache', 'expected /v1/cache/{namespace}/{key}'],
    ['/v1/cache/', 'expected /v1/cache/{namespace}/{key}'],
    ['/v1/cache/user', 'expected /v1/cache/{namespace}/{key}'],
    ['/v1/cache/user/', 'expected /v1/cache/{namespace}/{key}'],
    ['/v1/cache//key', 'neither of them empty'],
    ['/v1/cache/user/a/b', '%2F'],
    ['/v1/cache/user/a?b=c', '%3F'],
    ['/v1/cache/user/%', 'percent-encoded UTF-8'],
    ['/v1/cache/user/%zz', 'percent-encoded UTF-8'],
    ['/v1/cache/user/%ff', 'percent-encoded UTF-8'],
    // Overlong forms and surrogates are no UTF-8: they would be second names of a key.
    ['/v1/cache/user/%C0%80', 'percent-encoded UTF-8'],
    ['/v1/cache/user/%ED%A0%80', 'percent-encoded UTF-8'],
    ['/v1/cache/user/caf\u00c3\u00a9', 'must be percent-encoded'],
    [`/v1/cache/user/${'x'.repeat(513)}`, '513 bytes'],
    [`/v1/cache/user/${'%C3%A9'.repeat(257)}`, '514 bytes'],
  ])('%s', (url, detail) => {
    expect(parseAddress(url)).toEqual({ ok: false, detail: expect.stringContaining(detail) as string });
  });

  it('takes what stands at the limits', () => {
    expect(parseAddress(`/v1/cache/user/${'%C3%A9'.repeat(256)}`)).toMatchObject({ ok: true });
    expect(parseAddress('/v1/cache/u/%00')).toEqual({ ok: true, namespace: 'u', key: '\0' });
    expect(parseAddress('/v1/cache/u/%2F')).toEqual({ ok: true, namespace: 'u', key: '/' });
  });
});
