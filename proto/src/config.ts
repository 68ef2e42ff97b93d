import { z } from 'zod';
import { parseTemplate, TEMPLATE } from './template.ts';
import {
  DURATION,
  DURATION_MS,
  parseDurationMs,
  parsePercent,
  parseSizeBytes,
  PERCENT,
  SIZE,
  SIZE_BYTES,
} from './units.ts';

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
    .string()
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

const SECOND_MS = 1000;
const YEAR_MS = 365 * 86_400 * SECOND_MS;
const ttlDuration = quantity({
  form: DURATION,
  parse: parseDurationMs,
  expected: 'a duration from 1s to 365d',
  limits: { units: DURATION_MS, min: SECOND_MS, max: YEAR_MS, isWhole: true },
});
const percentage = quantity({
  form: PERCENT,
  parse: parsePercent,
  expected: 'a percentage from 0% to 100%',
  limits: { units: { '%': 0.01 }, min: 0, max: 1, isWhole: false },
});
const size = (expected: string, limits: { min: number; max: number }) =>
  quantity({
    form: SIZE,
    parse: parseSizeBytes,
    expected: `a size from ${expected}`,
    limits: { units: SIZE_BYTES, isWhole: true, ...limits },
  });
const KIB = 1024;
const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

const DEFAULT_MAX_ITEM_BYTES = MIB;
export const DEFAULT_L1_SIZE = '64MiB';
/** What the sidecar's memory needs for an entry besides its value, unless its tags are many: key, tags, bookkeeping. */
export const ENTRY_ROOM_BYTES = 4 * KIB;

/** Namespace and source names stand in URLs, Kafka topics, Redis keys and metric labels. */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const name = z
  .string()
  .regex(NAME_PATTERN, 'expected 1 to 63 of a-z, 0-9, ".", "_", "-", beginning with a letter or digit');

const template = z
  .string()
  .superRefine((text, context) => {
    try {
      if (text === '') throw new Error('it is empty');
      parseTemplate(text);
    } catch (error) {
      context.addIssue({
        code: 'custom',
        message: `found ${show(text)}, expected a template such as user:{id}: ${(error as Error).message}`,
      });
    }
  })
  .meta({ pattern: TEMPLATE.source });

const rule = z
  .strictObject({
    table: z
      .string()
      .regex(/^[^.\s]+\.[^.]+$/, 'expected schema.table, such as public.users')
      .describe('Table whose row changes invalidate; for a partitioned table its root.'),
    keys: z
      .array(template)
      .max(64)
      .default([])
      .describe('Keys to evict, with {column} filled from the old and the new row.'),
    tags: z.array(template).max(64).default([]).describe('Tags to evict, likewise.'),
  })
  .refine(
    (value) => value.keys.length + value.tags.length > 0,
    'found neither keys nor tags, expected at least one of them',
  );

const ttl = z.strictObject({
  hard: ttlDuration.prefault('30m').describe('An entry is never served longer than this after it was stored.'),
  negative: ttlDuration.prefault('30s').describe('The same for entries that say that the row does not exist.'),
  jitter: percentage
    .prefault('10%')
    .describe('Shortens each TTL by a random part up to this, so that entries stored together do not end together.'),
});

/** One namespace of the document. */
export const namespaceSchema = z
  .strictObject({
    source: name.describe('The source whose changes invalidate this namespace.'),
    invalidation: z
      .enum(['rules', 'ttl_only'])
      .default('rules')
      .describe('ttl_only gives up coherence: entries live until their TTL and are filled without a lease.'),
    ttl: ttl.prefault({}),
    l1: z
      .strictObject({
        maxBytes: size('64KiB to 16GiB', { min: 64 * KIB, max: 16 * GIB })
          .prefault(DEFAULT_L1_SIZE)
          .describe('Memory for this namespace in the sidecar, the overhead of each entry included.'),
      })
      .prefault({}),
    l2: z
      .strictObject({ enabled: z.boolean().default(true).describe('Share entries between sidecars through Redis.') })
      .prefault({}),
    maxItemBytes: size('1B to 16MiB', { min: 1, max: 16 * MIB })
      .optional()
      .describe(
        'Largest value that may be stored. Default: 1MiB, or 4KiB less than l1.maxBytes where that is smaller.',
      ),
    invalidate: z.array(rule).max(256).default([]).describe('Which row changes evict what.'),
  })
  .superRefine((value, context) => {
    if (value.invalidation === 'rules' && value.invalidate.length === 0) {
      context.addIssue({
        code: 'custom',
        path: ['invalidate'],
        message:
          'found no rule, expected at least one: without rules nothing would ever evict these entries (or say invalidation: ttl_only)',
      });
    }
    const { maxItemBytes = 0, l1 } = value;
    if (maxItemBytes > l1.maxBytes - ENTRY_ROOM_BYTES) {
      context.addIssue({
        code: 'custom',
        path: ['maxItemBytes'],
        message: `found ${maxItemBytes} bytes, expected at most ${l1.maxBytes - ENTRY_ROOM_BYTES} (4KiB less than l1.maxBytes): the sidecar could not hold larger values in its memory`,
      });
    }
  })
  .transform((value) => ({
    ...value,
    maxItemBytes: value.maxItemBytes ?? Math.min(DEFAULT_MAX_ITEM_BYTES, value.l1.maxBytes - ENTRY_ROOM_BYTES),
  }));

const source = z.strictObject({
  topic: z
    .string()
    .regex(/^[a-zA-Z0-9._-]{1,249}$/, "expected a Kafka topic name: 1 to 249 of a-z, A-Z, 0-9, '.', '_', '-'")
    .describe('Kafka topic of the source, with one partition; the invalidator creates it.'),
  l2: z
    .strictObject({
      buckets: z
        .int()
        .min(1)
        .max(1024)
        .default(1)
        .describe('Fence logs in Redis; more than 1 spreads a source over a cluster.'),
      maxFences: z.int().min(1000).max(10_000_000).default(100_000).describe('Fences that each log remembers.'),
    })
    .prefault({}),
});

/** Schema of the YAML document that invalidator and sidecars share. */
export const configSchema = z
  .strictObject({
    sources: z
      .record(name, source)
      .refine((value) => Object.keys(value).length > 0, 'found none, expected at least one source'),
    namespaces: z.record(name, namespaceSchema).default({}),
  })
  .superRefine((value, context) => {
    for (const [namespaceName, { source: sourceName }] of Object.entries(value.namespaces)) {
      // hasOwn: every object inherits a "constructor".
      if (!Object.hasOwn(value.sources, sourceName)) {
        context.addIssue({
          code: 'custom',
          path: ['namespaces', namespaceName, 'source'],
          message: `found ${show(sourceName)}, expected one of the sources: ${Object.keys(value.sources).join(', ')}`,
        });
      }
    }
  });

/** The document after parsing: durations in milliseconds, sizes in bytes, percentages as fractions, defaults filled in. */
export type TidemarkConfig = z.output<typeof configSchema>;
export type NamespaceConfig = TidemarkConfig['namespaces'][string];
export type SourceConfig = TidemarkConfig['sources'][string];

/** One thing wrong with a document. */
export interface ConfigIssue {
  /** Place in the document, such as `namespaces.user-profile.ttl.hard`; '' for the document itself. */
  readonly path: string;
  /** What was found there and what was expected. */
  readonly message: string;
}

export type ConfigResult =
  | { readonly ok: true; readonly config: TidemarkConfig }
  | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

/** Checks a parsed YAML or JSON document; reports every issue, and those between parts once each part is right by itself. */
export function parseConfig(document: unknown): ConfigResult {
  const result = configSchema.safeParse(document);
  if (result.success) return { ok: true, config: result.data };
  const issues = result.error.issues.map((issue) => ({
    path: issue.path.map(String).join('.'),
    message: explain(issue, valueAt(document, issue.path)),
  }));
  return { ok: false, issues };
}

/** JSON Schema (draft 2020-12) of the document as it is written, for editors and for the chart. */
export function configJsonSchema(): object {
  return z.toJSONSchema(configSchema, { io: 'input' });
}

/** "found …, expected …", in the words of the document. */
function explain(issue: z.core.$ZodIssue, found: unknown): string {
  switch (issue.code) {
    case 'unrecognized_keys':
      return `found unknown ${issue.keys.length > 1 ? 'keys' : 'key'} ${issue.keys.join(', ')}, expected only documented ones`;
    case 'invalid_type':
      return `found ${show(found)}, expected ${issue.expected}`;
    case 'invalid_value':
      return `found ${show(found)}, expected ${issue.values.map(show).join(' or ')}`;
    case 'invalid_key':
      return `found a name of a form that is not allowed, ${issue.issues.map(({ message }) => message).join(', ')}`;
    case 'invalid_format':
      return `found ${show(found)}, ${issue.message}`;
    case 'too_small':
      return `found ${measure(found)}, expected at least ${issue.minimum}`;
    case 'too_big':
      if (issue.origin === 'string') return `found ${show(found)}, expected at most ${issue.maximum} characters`;
      return `found ${measure(found)}, expected at most ${issue.maximum}`;
    default:
      return issue.message;
  }
}

function valueAt(document: unknown, path: readonly PropertyKey[]): unknown {
  let value = document;
  for (const step of path)
    value = typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[step] : undefined;
  return value;
}

/** What a limit was compared with: a number, or how many things a list has. */
function measure(found: unknown): string {
  return Array.isArray(found) ? `${found.length} items` : show(found);
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
