import { z } from 'zod';
import { show } from './show.ts';
import {
  DURATION,
  DURATION_MS,
  parseDurationMs,
  parsePercent,
  parseRate,
  parseSizeBytes,
  PERCENT,
  RATE,
  SIZE,
  SIZE_BYTES,
} from '../units.ts';

/** What a quantity may be, for those who check it in another language than this one. */
export interface QuantityLimits {
  /** How much each unit counts, in the unit of the limits. */
  readonly units: Readonly<Record<string, number>>;
  readonly min: number;
  readonly max: number;
  /** Whether it is rounded to a whole number before it is compared. */
  readonly isWhole: boolean;
}

/** The limits of each quantity of {@link namespaceSchema}, by the schema of its text. */
export const quantities = z.registry<QuantityLimits>();

/** Longest text of a quantity: nobody needs more digits. */
const QUANTITY_CHARS = 32;

/** A quantity written as text with its unit, parsed to a number of base units. */
function quantity(options: {
  form: RegExp;
  parse: (text: string) => number | undefined;
  expected: string;
  limits: QuantityLimits;
}) {
  const { form, parse, expected, limits } = options;
  const { min, max } = limits;
  return z
    .string({ error: `expected ${expected}` })
    .regex(form, { error: `expected ${expected}`, abort: true })
    .max(QUANTITY_CHARS)
    .register(quantities, limits)
    .transform((text, context) => {
      const value = parse(text);
      if (value !== undefined && value >= min && value <= max) return value;
      context.addIssue({ code: 'custom', message: `found ${show(text)}, expected ${expected}` });
      return z.NEVER;
    });
}

export const SECOND_MS = 1000;
export const YEAR_MS = 365 * 86_400 * SECOND_MS;
/** A duration in milliseconds; `expected` names its limits, such as `1s to 365d`. */
export const duration = (expected: string, limits: { min: number; max: number }) =>
  quantity({
    form: DURATION,
    parse: parseDurationMs,
    expected: `a duration from ${expected}`,
    limits: { units: DURATION_MS, isWhole: true, ...limits },
  });
export const ttlDuration = duration('1s to 365d', { min: SECOND_MS, max: YEAR_MS });
/** A percentage as a fraction. */
export const percentage = quantity({
  form: PERCENT,
  parse: parsePercent,
  expected: 'a percentage from 0% to 100%',
  limits: { units: { '%': 0.01 }, min: 0, max: 1, isWhole: false },
});
/** A size in bytes; `expected` names its limits. */
export const size = (expected: string, limits: { min: number; max: number }) =>
  quantity({
    form: SIZE,
    parse: parseSizeBytes,
    expected: `a size from ${expected}`,
    limits: { units: SIZE_BYTES, isWhole: true, ...limits },
  });
/** So many a second; `expected` names its limits. */
export const rate = (expected: string, limits: { min: number; max: number }) =>
  quantity({
    form: RATE,
    parse: parseRate,
    expected: `a rate from ${expected}`,
    limits: { units: { '/s': 1 }, isWhole: false, ...limits },
  });
export const KIB = 1024;
export const MIB = 1024 ** 2;
export const GIB = 1024 ** 3;
