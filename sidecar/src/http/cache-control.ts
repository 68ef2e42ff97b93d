import { USUAL, type Accepts, type Lifetime } from '../core/freshness.ts';
import { FieldError } from './fields.ts';

/** Directives of `Cache-Control` that mean something here; RFC 9111 lets a cache ignore those that it does not know. */
export interface CacheControl {
  readonly noCache: boolean;
  readonly noStore: boolean;
  readonly onlyIfCached: boolean;
  readonly isPrivate: boolean;
  /** Of those with an argument in seconds: undefined where it is not there; infinite for `max-stale` without one. */
  readonly maxAge: number | undefined;
  readonly minFresh: number | undefined;
  readonly maxStale: number | undefined;
  readonly staleWhileRevalidate: number | undefined;
  readonly staleIfError: number | undefined;
}

const FLAGS: Readonly<Record<string, 'noCache' | 'noStore' | 'onlyIfCached' | 'isPrivate'>> = {
  'no-cache': 'noCache',
  'no-store': 'noStore',
  'only-if-cached': 'onlyIfCached',
  private: 'isPrivate',
};
const SECONDS: Readonly<Record<string, 'maxAge' | 'minFresh' | 'maxStale' | 'staleWhileRevalidate' | 'staleIfError'>> =
  {
    'max-age': 'maxAge',
    'min-fresh': 'minFresh',
    'max-stale': 'maxStale',
    'stale-while-revalidate': 'staleWhileRevalidate',
    'stale-if-error': 'staleIfError',
  };

const NO_DIRECTIVES: CacheControl = {
  noCache: false,
  noStore: false,
  onlyIfCached: false,
  isPrivate: false,
  maxAge: undefined,
  minFresh: undefined,
  maxStale: undefined,
  staleWhileRevalidate: undefined,
  staleIfError: undefined,
};

/** Directives are divided by commas, but not by those in a quoted string (RFC 9110 section 5.6.4). */
const DIRECTIVES = /(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|$))+/g;
const DIGITS = /^(?:(\d+)|"((?:\\?\d)+)")$/;

/**
 * RFC 9111 section 5.2 and RFC 5861. Of directives that contradict each other the strictest holds (RFC 9111 section 4.2.1). Throws
 * {@link FieldError} for an argument that is no number of seconds.
 */
export function parseCacheControl(field: string | undefined): CacheControl {
  if (field === undefined) return NO_DIRECTIVES;
  const found: { -readonly [Name in keyof CacheControl]: CacheControl[Name] } = { ...NO_DIRECTIVES };
  for (const [part] of field.matchAll(DIRECTIVES)) {
    const equals = part.indexOf('=');
    const name = (equals < 0 ? part : part.slice(0, equals)).trim().toLowerCase();
    const argument = equals < 0 ? undefined : part.slice(equals + 1).trim();
    const flag = Object.hasOwn(FLAGS, name) ? FLAGS[name] : undefined;
    const seconds = Object.hasOwn(SECONDS, name) ? SECONDS[name] : undefined;
    if (flag !== undefined) found[flag] = true;
    if (seconds === undefined) continue;
    const isUnbounded = seconds === 'maxStale' && argument === undefined;
    const value = isUnbounded ? Number.POSITIVE_INFINITY : deltaSeconds(name, argument);
    const strictest = seconds === 'minFresh' ? Math.max : Math.min;
    found[seconds] = strictest(value, found[seconds] ?? value);
  }
  return found;
}

function deltaSeconds(name: string, argument: string | undefined): number {
  const [, plain, quoted] = DIGITS.exec(argument ?? '') ?? [];
  const digits = plain ?? quoted?.replaceAll('\\', '');
  if (digits === undefined) throw new FieldError(`Cache-Control: expected ${name}=SECONDS`);
  // RFC 9111 section 1.2.2: what is too large counts as 2^31.
  return Math.min(Number(digits), 2 ** 31);
}

/** What a request takes. @param coherent whether the answer must be, so that nothing in grace may be given */
export function acceptsOf(control: CacheControl, coherent: boolean): Accepts {
  const { noCache, maxAge, minFresh, maxStale } = control;
  // Who wants what the origin has would be misled by what it had once, unless he says that he is not.
  const staleIfError = control.staleIfError ?? (noCache ? Number.NEGATIVE_INFINITY : undefined);
  const says = maxAge ?? minFresh ?? maxStale ?? staleIfError;
  if (says === undefined && !coherent) return USUAL;
  return {
    maxAgeMs: maxAge === undefined ? USUAL.maxAgeMs : maxAge * 1000,
    minFreshMs: (minFresh ?? 0) * 1000,
    maxStaleMs: (maxStale ?? 0) * 1000,
    staleIfErrorMs: staleIfError === undefined ? undefined : staleIfError * 1000,
    grace: !coherent,
  };
}

/** What a value says of its own lifetime. */
export function lifetimeOf({ maxAge, staleWhileRevalidate, staleIfError }: CacheControl): Lifetime {
  const ms = (seconds: number | undefined): number | undefined => (seconds === undefined ? undefined : seconds * 1000);
  return {
    maxAgeMs: ms(maxAge),
    staleWhileRevalidateMs: ms(staleWhileRevalidate),
    staleIfErrorMs: ms(staleIfError),
  };
}
