import fc from 'fast-check';
import type { Request, SurfaceName } from './requests.ts';

// What is no HTTP, or none that comes to an end.

/** Where it is sent to; `webhook-plain`: without TLS. */
export type GarbageSurface = SurfaceName | 'webhook-plain';

export interface Garbage extends Pick<Request, 'pieces' | 'end'> {
  readonly surface: GarbageSurface;
}

const HELLO = Buffer.from('160301007c01000078030300', 'hex');
const WHOLE = 'PUT /v1/cache/plain/garbage HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\ngarbage';

const bytes: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 500 }),
  fc.constantFrom(
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1'),
    HELLO,
    Buffer.concat([HELLO, Buffer.alloc(300, 0xff)]),
    Buffer.from('1503030002022a', 'hex'),
    Buffer.alloc(20_000, '\r\n'),
    Buffer.alloc(20_000, 'A'),
    Buffer.alloc(5_000, 0),
    Buffer.from(`GET /livez HTTP/1.1\r\nHost: x\r\n${'X: y\r\n'.repeat(3_000)}\r\n`),
    Buffer.from('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(300)),
    Buffer.from(
      'PUT /v1/cache/plain/garbage HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;' + 'e'.repeat(20_000),
    ),
    Buffer.from('\x04\x01\x1f\x90\x7f\0\0\x01\0', 'latin1'),
    Buffer.from('{"json":"lines"}\n'),
  ),
);

/** A part of a request that stores something: it must not. Nothing comes after it, for that would make it whole. */
const part: fc.Arbitrary<readonly Uint8Array[]> = fc.oneof(
  fc.constant([]),
  fc.integer({ min: 1, max: WHOLE.length - 1 }).map((length) => [Buffer.from(WHOLE.slice(0, length))]),
);

const surfaces = fc.constantFrom<GarbageSurface>(
  ...(['sidecar', 'socket', 'admin', 'invalidator', 'applier', 'webhook', 'webhook-health', 'webhook-plain'] as const),
);

const garbage: fc.Arbitrary<Garbage> = fc.record({
  surface: surfaces,
  pieces: fc.tuple(fc.array(bytes, { minLength: 1, maxLength: 3 }), part).map(([noise, last]) => [...noise, ...last]),
  end: fc.constantFrom<'finish' | 'reset'>('finish', 'finish', 'reset'),
});

export function generateGarbage(options: { seed: number; count: number }): readonly Garbage[] {
  return fc.sample(garbage, { seed: options.seed, numRuns: options.count });
}
