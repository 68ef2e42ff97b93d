import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { variantDigest } from '../http/target.ts';
import { Variants } from './variants.ts';

const config = { headers: ['accept-language'], identity: ['x-tenant'] };
const variants = (): Variants => new Variants({ config, digest: variantDigest });
type Headers = Readonly<Record<string, string>>;
const at = (of: Variants, key: string, headers: Headers): string | { missing: string } =>
  of.addressOf(key, (name) => headers[name]);

// Anything that a caller may try, separators and other callers' addresses included.
const text = fc.string({ unit: fc.constantFrom('a', 'b', '\u0000', '"', ',', '[', '\\'), maxLength: 6 });
const caller = fc.record({ 'accept-language': text, 'x-tenant': text.filter((value) => value !== '') });

describe('an address', () => {
  it('[I20] is the same for nobody else, whatever keys and headers are sent', () => {
    fc.assert(
      fc.property(text, caller, text, caller, (keyA, a, keyB, b) => {
        const of = variants();
        const [one, two] = [at(of, keyA, a), at(of, keyB, b)];
        const isSame =
          keyA === keyB && a['accept-language'] === b['accept-language'] && a['x-tenant'] === b['x-tenant'];
        expect(one === two).toBe(isSame);
      }),
    );
  });

  it('[I20] cannot be named as a key by another caller', () => {
    fc.assert(
      fc.property(text, caller, caller, (key, victim, thief) => {
        fc.pre(victim['x-tenant'] !== thief['x-tenant']);
        const of = variants();
        const address = at(of, key, victim) as string;
        expect(at(of, address, thief)).not.toBe(address);
        expect(at(of, address.slice(0, -1), thief)).not.toBe(address);
      }),
    );
  });

  it('tells the key and the headers back', () => {
    fc.assert(
      fc.property(text, caller, (key, headers) => {
        const of = variants();
        const address = at(of, key, headers) as string;
        expect([of.keyOf(address), of.subjectOf(address)]).toEqual([key, { key, headers }]);
      }),
    );
  });

  it('[I20] is not given to who does not say for whom he asks', () => {
    expect(at(variants(), 'k', { 'accept-language': 'de' })).toEqual({ missing: 'x-tenant' });
    expect(at(variants(), 'k', { 'x-tenant': '' })).toEqual({ missing: 'x-tenant' });
  });
});

it('remembers no more of them than has room, however long their headers are', () => {
  const of = variants();
  const long = (i: number): Headers => ({ 'x-tenant': `${i} ${'x'.repeat(12_000)}` });
  const addresses = Array.from({ length: 1_000 }, (_, i) => at(of, 'k', long(i)) as string);
  at(of, 'k', long(999));
  const kept = addresses.filter((address) => of.subjectOf(address) !== undefined);
  expect(kept).toEqual(addresses.slice(-kept.length));
  expect([kept.length > 100, kept.length * 12_000 < 4 * 1024 * 1024]).toEqual([true, true]);
});

it('remembers so many subjects at most, the latest', () => {
  const of = variants();
  const first = at(of, 'k', { 'x-tenant': 'first' }) as string;
  for (let i = 0; i < 10_000; i += 1) at(of, 'k', { 'x-tenant': `t${i}` });
  expect(of.subjectOf(first)).toBeUndefined();
  expect(of.subjectOf(at(of, 'k', { 'x-tenant': 't9999' }) as string)?.headers['x-tenant']).toBe('t9999');
});
