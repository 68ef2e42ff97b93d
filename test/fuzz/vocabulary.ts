import fc from 'fast-check';
import type { SurfaceName } from './requests.ts';

// The words that the interfaces know, each with what is nearly right and what is absurd.

export const methods = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom('GET', 'PUT', 'PUT', 'POST') },
  { weight: 4, arbitrary: fc.constantFrom('HEAD', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'QUERY') },
  { weight: 1, arbitrary: fc.constantFrom('CONNECT', 'get', 'FOO', '', 'G\0T', 'P UT', 'GET\t', 'M'.repeat(300), 'Ü') },
);

/** Of these the most frequent stand in the configuration. */
export const namespaces = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom('plain', 'plain', 'user', 'user', 'varied', 'loaded', 'written') },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...[
        'nobody',
        '__proto__',
        'constructor',
        'toString',
        '',
        '.',
        '..',
        'plain%00',
        'PLAIN',
        'n'.repeat(5_000),
        '\xfc',
      ],
    ),
  },
);

/** Keys that can be stored; what they are when decoded is what is read afterwards. */
export const GOOD_KEYS = ['a', 'b', '%C3%A9', '%2F..%2F', '%00', '%F0%9F%98%80', '.', '__proto__', 'k'.repeat(512)];
export const keys = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...GOOD_KEYS) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      ...[
        '',
        '%',
        '%z',
        '%zz',
        '%FF',
        '%ED%A0%80',
        '%C0%80',
        'a/b',
        'a?b',
        'a#b',
        '?',
        '#',
        '/',
        '\xe9',
        'a\x7f',
        'a\tb',
      ],
      ...[
        'k'.repeat(513),
        '%41'.repeat(513),
        'k'.repeat(8_000),
        'k'.repeat(17_000),
        '..',
        '%2e%2e',
        'a\0b',
        'a b',
        '{id}',
      ],
    ),
  },
  {
    weight: 1,
    arbitrary: fc.string({ unit: fc.constantFrom(...'%2FaZ.~/?#\\"<>{}|^`\xff'.split('')), maxLength: 20 }),
  },
);

/** Stands for the address under which a value is written to the database. */
export const WRITE = '/v1/write';

const PATHS: Readonly<Record<SurfaceName, readonly string[]>> = {
  sidecar: [
    ...['/v1/batch', '/v1/batch', '/v1/purge', '/v1/status', '/openapi.json', '/livez', '/metrics', '/v1/cache'],
    ...[WRITE, WRITE, WRITE, '/v1/warm', '/v1/warm', '/v1/warm/x', '/v1/write/written', '/v1/write/nobody/a'],
  ],
  socket: ['/v1/batch', '/v1/purge', '/v1/status', '/readyz', WRITE, '/v1/warm'],
  admin: ['/v1/status', '/openapi.json', '/livez', '/readyz', '/metrics', '/v1/cache/plain/a', '/v1/purge'],
  invalidator: [
    '/v1/purge',
    '/v1/purge',
    '/v1/position',
    '/v1/flushed/writes',
    '/v1/config',
    '/livez',
    '/readyz',
    '/metrics',
  ],
  applier: ['/livez', '/readyz', '/metrics'],
  webhook: ['/inject', '/inject', '/inject', '/mutate'],
  'webhook-health': ['/livez', '/readyz', '/metrics', '/inject'],
};

/** A target; '' stands for the address of a value. */
export function pathsOf(surface: SurfaceName): fc.Arbitrary<string> {
  const isCache = surface === 'sidecar' || surface === 'socket';
  const known = PATHS[surface];
  return fc.oneof(
    { weight: isCache ? 14 : 1, arbitrary: fc.constant('') },
    { weight: isCache ? 4 : 10, arbitrary: fc.constantFrom(...known) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(...known.flatMap((path) => [`${path}/`, path.toUpperCase(), `${path}?a=%`])),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        ...[
          '*',
          '/',
          '//',
          '',
          '/%',
          '/%00',
          'http://x/livez',
          'http://[::1',
          '//[#a@:',
          'http://a:b:c@[/',
          'x:1',
          '/../../etc',
        ],
        ...['/\xff', '/a\0', '/ ', '\\', '/..;/', `/${'p'.repeat(9_000)}`, `/${'p'.repeat(20_000)}`, 'http://\xff/'],
      ),
    },
    { weight: 1, arbitrary: fc.string({ unit: 'binary-ascii', maxLength: 30 }).map((text) => `/${text}`) },
  );
}

const lsns = [
  '0/0',
  '0/1',
  '16/B374D848',
  'FFFFFFFF/FFFFFFFF',
  '1:0/1',
  '0:0/1',
  '99999999999999999:0/1',
  '/',
  'G/1',
  '-1/1',
];
const tokens = [
  'new',
  '',
  '1~main~1~1',
  '1~main~1~FFFFFFFFFFFFFF',
  '1~*~1~1~*',
  '1~__proto__~1~1',
  '1~main~0~1',
  '2~main~1~1',
];

/** Values by the name of their header. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  'Cache-Control': [
    ...[
      'no-cache',
      'only-if-cached',
      'no-store',
      'max-age=0',
      'max-age=5',
      'max-age=-1',
      'max-age=1e9',
      'max-age',
      '=',
    ],
    ...[
      'max-age=99999999999999999999',
      'max-age="5',
      'max-age=5,max-age=0',
      ',,,',
      'no-cache="x, y"',
      'max-stale=\xff',
      'max-stale',
      'max-stale=5',
      'min-fresh=1',
      'min-fresh=x',
      'stale-if-error=9',
      'max-age=3, stale-while-revalidate=5, stale-if-error=1e3',
    ],
  ],
  'If-None-Match': ['*', '"x"', 'W/"x"', '"', '', ','.repeat(3_000), '*, *'],
  'Tidemark-Session': [...tokens, `1~${'main~1~1~~'.repeat(200)}`, 'new,'.repeat(9), 'x'.repeat(5_000)],
  'Tidemark-Min-Lsn': [...lsns, lsns.join(',')],
  'Tidemark-Loaded-At': lsns,
  'Source-Lsn': lsns,
  'Tidemark-Lease': ['', '1-x', '__proto__', 'x'.repeat(5_000), '\xff', '1-Zk3vQm1cT5w8hT2n', 'a, b'],
  'Surrogate-Key': ['a b', '', '%', '%FF', '\xff', 't '.repeat(65), 't'.repeat(513), '%ED%A0%80', '__proto__'],
  'Tidemark-Absent': ['?1', '?0', '1', 'true', '?1, ?1', '?2'],
  'Content-Type': [
    ...[
      'text/plain',
      'application/json',
      'application/json; charset=utf-16',
      'application/json; charset=x',
      'x',
      '',
      '\xff',
    ],
    ...['application/json;;;', 'multipart/form-data', 't'.repeat(300), 'application/x-www-form-urlencoded'],
  ],
  'Content-Encoding': ['gzip', 'identity', 'br', 'deflate', 'lzma', 'gzip, gzip', ''],
  'Content-Range': ['bytes 0-1/2'],
  Vary: ['*', 'x-tenant', 'Accept-Language, X-Tenant', 'cookie', ',', ''],
  'X-Tenant': ['a', 'b', '', 'a\\u0000b', '["a"]', 't'.repeat(3_000), '\xff'],
  'Accept-Language': ['de', 'en', '', '*', 'x'.repeat(2_000)],
  'Tidemark-Load': ['?1', 'x'],
  'Tidemark-Write': ['write:x', ''],
  Expect: ['100-continue', '100-Continue', 'nothing', '', '100-continue, 100-continue'],
  Upgrade: ['h2c', 'websocket'],
  Connection: ['Upgrade', 'close', 'Content-Length', 'x, y'],
  'HTTP2-Settings': ['AAMAAABkAAQAAP__'],
  Host: ['', 'y', 'x:99999', '[', '\xff'],
  Trailer: ['Tidemark-Lease'],
  Range: ['bytes=0-1', 'bytes=-', 'x'],
  Accept: ['*/*', '\xff', 'x'.repeat(2_000)],
  'Accept-Encoding': ['gzip', '*;q=0'],
};

/** One header: a name that is known with a value that may be right, or one that is none. */
export const headers: fc.Arbitrary<readonly [string, string]> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .constantFrom(...Object.entries(VALUES))
      .chain(([name, values]) => fc.tuple(fc.constant(name), fc.constantFrom(...values))),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constantFrom(...Object.keys(VALUES)), fc.string({ unit: 'binary-ascii', maxLength: 30 })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<readonly [string, string]>(
      ...([
        ['', 'x'],
        ['X Y', 'x'],
        ['X\0', 'x'],
        ['X', '\0'],
        ['X', 'a\nb'],
        ['X', 'a\r\n folded'],
        ['\xff', 'x'],
        ['__proto__', 'x'],
        ['X-Large', 'x'.repeat(17_000)],
        ['X', `1\r\n${'y: 1\r\n'.repeat(1_200)}z: 1`],
      ] as const),
    ),
  },
);
