import { describe, expect, it } from 'vitest';
import { parseMemcachedUrl } from './memcached-url.ts';

describe('an address of memcached', () => {
  it('names servers, a user, and a prefix for keys', () => {
    expect(parseMemcachedUrl('memcached://cache')).toEqual({ nodes: [{ host: 'cache', port: 11_211 }], prefix: '' });
    expect(parseMemcachedUrl('memcached://shop:s3cret%40@10.0.0.1:1,[::1]:2/shop-1')).toEqual({
      nodes: [
        { host: '10.0.0.1', port: 1 },
        { host: '::1', port: 2 },
      ],
      username: 'shop',
      password: 's3cret@',
      prefix: 'shop-1',
    });
  });

  it.each([
    ['another scheme', 'redis://cache'],
    ['no server', 'memcached://'],
    ['a server twice', 'memcached://a:1,a:1'],
    ['a port beyond', 'memcached://a:70000'],
    ['port 0', 'memcached://a:0'],
    ['an empty server', 'memcached://a,,b'],
    ['a prefix with a space', 'memcached://a/x%20y'],
    ['a prefix that is too long', `memcached://a/${'x'.repeat(65)}`],
    ['a user alone', 'memcached://shop@a'],
    ['a password with a space', 'memcached://shop:a%20b@a'],
    ['too many servers', `memcached://${Array.from({ length: 129 }, (_, i) => `a${i}`).join(',')}`],
  ])('refuses %s', (_, url) => {
    expect(() => parseMemcachedUrl(url)).toThrow('expected memcached://');
  });

  it('never repeats the password', () => {
    const told = (): unknown => {
      try {
        return parseMemcachedUrl('memcached://shop:s3cret@a:x');
      } catch (error) {
        return String(error);
      }
    };
    expect(told()).not.toContain('s3cret');
  });
});
