import { describe, expect, it } from 'vitest';
import { parseRedisUrl } from './redis-url.ts';

describe('parseRedisUrl', () => {
  it.each([
    ['redis://h', { kind: 'standalone', nodes: [{ host: 'h', port: 6379 }], db: 0, tls: false }],
    ['redis://h:1/2', { kind: 'standalone', nodes: [{ host: 'h', port: 1 }], db: 2, tls: false }],
    [
      'rediss://:p%40ss@h:1',
      { kind: 'standalone', nodes: [{ host: 'h', port: 1 }], db: 0, tls: true, password: 'p@ss' },
    ],
    ['redis://u:p@[::1]:1', { nodes: [{ host: '::1', port: 1 }], username: 'u', password: 'p' }],
    [
      'redis+sentinel://a:1,b/m',
      {
        kind: 'sentinel',
        nodes: [
          { host: 'a', port: 1 },
          { host: 'b', port: 26_379 },
        ],
        master: 'm',
        db: 0,
      },
    ],
    [
      'rediss+sentinel://u:p@a:1/m/3',
      { kind: 'sentinel', master: 'm', db: 3, tls: true, username: 'u', password: 'p' },
    ],
    [
      'redis+cluster://a:1,b:2',
      {
        kind: 'cluster',
        nodes: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
        db: 0,
      },
    ],
  ])('reads %s', (url, expected) => {
    expect(parseRedisUrl(url)).toMatchObject(expected);
  });

  it.each([
    'localhost:6379',
    'http://h',
    'redis://',
    'redis://a,b',
    'redis://h:x',
    'redis://h/zero',
    'redis://h/0/1',
    'redis+sentinel://a:1',
    'redis+cluster://a:1/2',
    'redis://u:secret@h:x',
  ])('refuses %s without repeating it', (url) => {
    expect(() => parseRedisUrl(url)).toThrow(/^expected redis/);
  });
});
