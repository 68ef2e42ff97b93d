import fc from 'fast-check';
import { bodies, bodyOf, type BodyPlan } from './bodies.ts';
import { headers, keys, methods, namespaces, pathsOf, WRITE } from './vocabulary.ts';
import type { End } from './wire.ts';

/** Who is asked. */
export type SurfaceName = 'sidecar' | 'socket' | 'admin' | 'invalidator' | 'applier' | 'webhook' | 'webhook-health';

/** A value that a request stores, if it is taken. */
export interface Stores {
  /** Namespace and decoded key. */
  readonly place: string;
  readonly value: string;
}

/** One connection's worth of bytes, and what may come of it. */
export interface Request {
  readonly surface: SurfaceName;
  readonly pieces: readonly Uint8Array[];
  readonly end: End;
  /** Whether an answer has to come: its head came whole, and so did its body. */
  readonly isAnswered: boolean;
  /** Of each request in it, as far as they can be told apart. */
  readonly methods: readonly string[];
  readonly stores: readonly Stores[];
  /** Whether what it stores came whole. */
  readonly isWhole: boolean;
  readonly isBatch: boolean;
  /** Place whose value a 200 to it would be. */
  readonly reads: string | undefined;
}

/** How a body is framed; all but the first three are wrong, or say something else than the body has. */
const FRAMINGS = [
  ...['length', 'chunks', 'none', 'short', 'long', 'both', 'both-turned', 'two-lengths', 'same-twice', 'coded'],
  ...['coded-after', 'negative', 'hexadecimal', 'huge', 'plus', 'list', 'bad-chunk', 'cut-chunk', 'space-before'],
] as const;
type Framing = (typeof FRAMINGS)[number];
const RIGHT: readonly Framing[] = ['length', 'chunks'];
/** After these the server may wait for more. */
const INCOMPLETE: ReadonlySet<Framing> = new Set(['long', 'huge', 'cut-chunk']);

/** What a server reads in one go. */
const MOST_AT_ONCE = 32_768;
/** Of a body that is refused no more is read. */
const MOST_READ = 1_000_000;

interface Plan {
  readonly surface: SurfaceName;
  readonly method: string;
  readonly target: string;
  readonly namespace: string;
  readonly key: string;
  readonly version: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly framing: Framing;
  readonly body: BodyPlan;
  readonly pieces: number;
  readonly end: 'whole' | 'reset' | 'cut';
  readonly before: number;
}

const surfaces = fc.oneof(
  { weight: 10, arbitrary: fc.constant<SurfaceName>('sidecar') },
  { weight: 3, arbitrary: fc.constant<SurfaceName>('socket') },
  { weight: 1, arbitrary: fc.constantFrom<SurfaceName>('admin', 'applier', 'webhook-health') },
  { weight: 2, arbitrary: fc.constantFrom<SurfaceName>('invalidator', 'webhook') },
);

const plans: fc.Arbitrary<Plan> = surfaces.chain((surface) =>
  fc.record({
    surface: fc.constant(surface),
    method: methods,
    target: pathsOf(surface),
    namespace: namespaces,
    key: keys,
    version: fc.oneof(
      { weight: 20, arbitrary: fc.constant('HTTP/1.1') },
      {
        weight: 1,
        arbitrary: fc.constantFrom('HTTP/1.0', 'HTTP/2.0', 'HTTP/1.2', 'http/1.1', 'HTTP/0.9', 'FTP/1.1', ''),
      },
    ),
    headers: fc.oneof(
      { weight: 1, arbitrary: fc.constant([]) },
      { weight: 2, arbitrary: fc.array(headers, { maxLength: 5 }) },
    ),
    framing: fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom(...RIGHT) },
      { weight: 2, arbitrary: fc.constantFrom(...FRAMINGS) },
    ),
    body: bodies,
    pieces: fc.integer({ min: 1, max: 4 }),
    end: fc.oneof(
      { weight: 12, arbitrary: fc.constant<'whole'>('whole') },
      { weight: 1, arbitrary: fc.constantFrom<'reset' | 'cut'>('reset', 'cut') },
    ),
    before: fc.oneof(
      { weight: 8, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 5 }) },
    ),
  }),
);

/** Requests in which something may be wrong, from a seed. @param id makes the values that they store unlike all others */
export function generate(options: { seed: number; count: number; id: string }): readonly Request[] {
  const { seed, count, id } = options;
  return fc.sample(plans, { seed, numRuns: count }).map((plan, index) => build(plan, `${id}.${index}`));
}

function build(plan: Plan, id: string): Request {
  const isCache = plan.target === '';
  const isWrite = plan.target === WRITE;
  const target = isCache || isWrite ? `${isWrite ? WRITE : '/v1/cache'}/${plan.namespace}/${plan.key}` : plan.target;
  const variant = variantOf(plan.headers);
  const placed = (namespace: string, key: string): string =>
    namespace === 'varied' ? `varied/${key} for ${variant}` : `${namespace}/${key}`;
  const place = isCache || isWrite ? placed(plan.namespace, decoded(plan.key)) : undefined;
  const { bytes, stores } = bodyOf(plan.body, { id, place, placeOf: placed });
  const isBatch = plan.method === 'POST' && target === '/v1/batch';
  const isBodyless = plan.method === 'GET' || plan.method === 'HEAD';
  // Most callers send no body with these.
  const framing = isBodyless && RIGHT.includes(plan.framing) ? 'none' : plan.framing;
  const [fields, framed] = frame(framing, framing === 'none' && isBodyless ? Buffer.alloc(0) : bytes);
  const lines = [...plan.headers, ...fields].map(([name, value]) => `${name}: ${value}`);
  const head = [`${plan.method} ${target} ${plan.version}`, 'Host: x', ...lines, 'Connection: close', '', ''].join(
    '\r\n',
  );
  const before = 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(plan.before);
  const all = Buffer.concat([Buffer.from(before + head, 'latin1'), framed]);
  // Nobody reads these to their end before the answer; over a Unix socket what comes later resets the connection, and whoever
  // is slower than the server waits (a second) loses the answer.
  const isEarly = isBodyless || plan.method === 'DELETE' || plan.surface === 'socket';
  const hasSurplus = framing === 'none' || framing === 'short' || isEarly;
  // Where an upgrade is asked for, Node hears nothing of a chunk that is none; the request ends with its time.
  const isUnheard = framing === 'bad-chunk' && plan.headers.some(([name]) => name.toLowerCase() === 'upgrade');
  const isIncomplete = INCOMPLETE.has(framing) || isUnheard;
  const sent = plan.end === 'cut' ? all.subarray(0, Math.floor(all.length / 2)) : all;
  const isPut = plan.method === 'PUT' && place !== undefined;
  return {
    surface: plan.surface,
    // What follows a request may reset the connection where it comes after the answer.
    pieces: split(sent, hasSurplus ? 1 : plan.pieces),
    end: plan.end === 'reset' ? 'reset' : plan.end === 'cut' || isIncomplete ? 'finish' : 'wait',
    // To these methods Node answers nothing where nobody takes over the connection.
    isAnswered:
      plan.end === 'whole' &&
      !isIncomplete &&
      plan.method !== 'CONNECT' &&
      all.length <= (hasSurplus ? MOST_AT_ONCE : MOST_READ),
    methods: [...Array.from({ length: plan.before }, () => 'GET'), plan.method],
    stores: isPut ? stores.map((each) => ({ ...each, value: taken(each.value, framing) })) : isBatch ? stores : [],
    isWhole: plan.end !== 'cut' && [...RIGHT, 'same-twice', 'short'].includes(framing),
    isBatch,
    // What the sidecar loads is from the database.
    reads: plan.before === 0 && plan.method === 'GET' && isCache && plan.namespace !== 'loaded' ? place : undefined,
  };
}

/** A length that is too short is that of another, shorter value; what follows it is no request. */
function taken(value: string, framing: Framing): string {
  return framing === 'short' ? value.slice(0, Math.floor(value.length / 2)) : value;
}

/** By what values of one key differ; of several fields Node makes one. */
function variantOf(fields: Plan['headers']): string {
  const of = (wanted: string): string =>
    fields
      .filter(([name]) => name.toLowerCase() === wanted)
      .map(([, value]) => value.trim())
      .join(', ');
  return JSON.stringify([of('accept-language'), of('x-tenant')]);
}

function decoded(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return ` (no UTF-8) ${key}`;
  }
}

function split(bytes: Buffer, count: number): readonly Uint8Array[] {
  const size = Math.max(1, Math.ceil(bytes.length / count));
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}

type Field = readonly [name: string, value: string];

/** What a smuggler wants a server behind to read; if it were read here, its value would be found. */
export const SMUGGLED = { place: 'plain/smuggled', value: 'smuggled' } as const;
const smuggled =
  'PUT /v1/cache/plain/smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\nConnection: close\r\n\r\nsmuggled';

function frame(framing: Framing, body: Buffer): readonly [readonly Field[], Buffer] {
  const length: Field = ['Content-Length', String(body.length)];
  const chunked: Field = ['Transfer-Encoding', 'chunked'];
  const chunks = (end = '0\r\n\r\n'): Buffer =>
    Buffer.concat([
      Buffer.from(body.length === 0 ? '' : `${body.length.toString(16)}\r\n`),
      body,
      Buffer.from(body.length === 0 ? end : `\r\n${end}`),
    ]);
  switch (framing) {
    case 'length':
      return [[length], body];
    case 'chunks':
      return [[chunked], chunks()];
    case 'none':
      return [[], body];
    case 'short':
      return [[['Content-Length', String(Math.floor(body.length / 2))]], body];
    case 'long':
      return [[['Content-Length', String(body.length + 7)]], body];
    case 'both':
      return [[length, chunked], Buffer.concat([chunks(), Buffer.from(smuggled)])];
    case 'both-turned':
      return [[chunked, ['Content-Length', '4']], Buffer.concat([chunks(), Buffer.from(smuggled)])];
    case 'two-lengths':
      return [[length, ['Content-Length', '0']], Buffer.concat([body, Buffer.from(smuggled)])];
    case 'same-twice':
      return [[length, length], body];
    case 'coded':
      return [[['Transfer-Encoding', 'gzip, chunked']], chunks()];
    case 'coded-after':
      return [[['Transfer-Encoding', 'chunked, identity']], Buffer.concat([chunks(), Buffer.from(smuggled)])];
    case 'negative':
      return [[['Content-Length', '-1']], body];
    case 'hexadecimal':
      return [[['Content-Length', '0x10']], body];
    case 'huge':
      return [[['Content-Length', '9007199254740993']], body];
    case 'plus':
      return [[['Content-Length', `+${body.length}`]], body];
    case 'list':
      return [[['Content-Length', `${body.length}, ${body.length}`]], body];
    case 'bad-chunk':
      return [[chunked], Buffer.concat([Buffer.from('zz\r\n'), body, Buffer.from('\r\n0\r\n\r\n')])];
    case 'cut-chunk':
      return [[chunked], Buffer.concat([Buffer.from(`${(body.length + 9).toString(16)}\r\n`), body])];
    case 'space-before':
      return [[['Transfer-Encoding ', 'chunked'], length], Buffer.concat([body, Buffer.from(smuggled)])];
  }
}
