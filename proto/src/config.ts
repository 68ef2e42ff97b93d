import { z } from 'zod';
import { parseTemplate } from './template.ts';
import { parseDurationMs, parsePercent, parseSizeBytes } from './units.ts';

/** A quantity written as text with its unit, parsed to a number of base units. */
function quantity(parse: (text: string) => number | undefined, expected: string, limits?: { min: number; max: number }) {
  return z.string().transform((text, context) => {
    const value = parse(text);
    if (value === undefined || (limits && (value < limits.min || value > limits.max))) {
      context.addIssue({ code: 'custom', message: `found ${JSON.stringify(text)}, expected ${expected}` });
      return z.NEVER;
    }
    return value;
  });
}

const duration = (expected: string, limits?: { min: number; max: number }) => quantity(parseDurationMs, expected, limits);
const KIB = 1024;
const GIB = 1024 ** 3;

/** Namespace and source names stand in URLs, Kafka topics, Redis keys and metric labels. */
const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const name = z.string().regex(NAME, 'expected 1 to 63 of a-z, 0-9, ".", "_", "-", beginning with a letter or digit');

const template = z.string().min(1).superRefine((text, context) => {
  try {
    parseTemplate(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: `in template ${JSON.stringify(text)}: ${(error as Error).message}` });
  }
});

const rule = z
  .strictObject({
    table: z
      .string()
      .regex(/^[^.\s]+\.[^.]+$/, 'expected schema.table, such as public.users')
      .describe('Table whose row changes invalidate; for a partitioned table its root.'),
    keys: z.array(template).max(64).default([]).describe('Keys to evict, with {column} filled from the old and the new row.'),
    tags: z.array(template).max(64).default([]).describe('Tags to evict, likewise.'),
  })
  .refine((value) => value.keys.length + value.tags.length > 0, 'a rule needs at least one key or tag');

const ttl = z.strictObject({
  hard: duration('a duration from 1s to 365d', { min: 1000, max: 365 * 86_400_000 })
    .prefault('30m')
    .describe('An entry is never served longer than this after it was stored.'),
  negative: duration('a duration from 1s to 365d', { min: 1000, max: 365 * 86_400_000 })
    .prefault('30s')
    .describe('The same for entries that say that the row does not exist.'),
  jitter: quantity(parsePercent, 'a percentage from 0% to 100%')
    .prefault('10%')
    .describe('Shortens each TTL by a random part up to this, so that entries stored together do not end together.'),
});

const namespace = z
  .strictObject({
    source: name.describe('The source whose changes invalidate this namespace.'),
    invalidation: z
      .enum(['rules', 'ttl_only'])
      .default('rules')
      .describe('ttl_only gives up coherence: entries live until their TTL and are filled without a lease.'),
    ttl: ttl.prefault({}),
    l1: z
      .strictObject({
        maxBytes: quantity(parseSizeBytes, 'a size from 64KiB to 16GiB', { min: 64 * KIB, max: 16 * GIB })
          .prefault('64MiB')
          .describe('Memory for this namespace in the sidecar, the overhead of each entry included.'),
      })
      .prefault({}),
    l2: z
      .strictObject({ enabled: z.boolean().default(true).describe('Share entries between sidecars through Redis.') })
      .prefault({}),
    maxItemBytes: quantity(parseSizeBytes, 'a size from 1B to 16MiB', { min: 1, max: 16 * 1024 * KIB })
      .prefault('1MiB')
      .describe('Largest value that may be stored.'),
    invalidate: z.array(rule).max(256).default([]).describe('Which row changes evict what.'),
  })
  .superRefine((value, context) => {
    if (value.invalidation === 'rules' && value.invalidate.length === 0) {
      context.addIssue({
        code: 'custom',
        path: ['invalidate'],
        message: 'found no rule, expected at least one: without rules nothing would ever evict these entries (or say invalidation: ttl_only)',
      });
    }
  });

const source = z.strictObject({
  topic: z
    .string()
    .regex(/^[a-zA-Z0-9._-]{1,249}$/, "expected a Kafka topic name: 1 to 249 of a-z, A-Z, 0-9, '.', '_', '-'")
    .describe('Kafka topic of the source, with one partition; the invalidator creates it.'),
  l2: z
    .strictObject({
      buckets: z.int().min(1).max(1024).default(1).describe('Fence logs in Redis; more than 1 spreads a source over a cluster.'),
      maxFences: z.int().min(1000).max(10_000_000).default(100_000).describe('Fences that each log remembers.'),
    })
    .prefault({}),
});

/** Schema of the YAML document that invalidator and sidecars share. */
export const configSchema = z
  .strictObject({
    sources: z.record(name, source).refine((value) => Object.keys(value).length > 0, 'expected at least one source'),
    namespaces: z.record(name, namespace).default({}),
  })
  .superRefine((value, context) => {
    for (const [namespaceName, { source: sourceName }] of Object.entries(value.namespaces)) {
      if (value.sources[sourceName] === undefined) {
        context.addIssue({
          code: 'custom',
          path: ['namespaces', namespaceName, 'source'],
          message: `found ${JSON.stringify(sourceName)}, expected one of the sources: ${Object.keys(value.sources).join(', ')}`,
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
  /** Place in the document, such as `namespaces.user-profile.ttl.hard`. */
  readonly path: string;
  readonly message: string;
}

export type ConfigResult = { readonly ok: true; readonly config: TidemarkConfig } | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

/** Checks a parsed YAML or JSON document; reports every issue at once, unknown keys included. */
export function parseConfig(document: unknown): ConfigResult {
  const result = configSchema.safeParse(document);
  if (result.success) return { ok: true, config: result.data };
  return { ok: false, issues: result.error.issues.map((issue) => ({ path: issue.path.map(String).join('.'), message: explain(issue, document) })) };
}

/** JSON Schema (draft 2020-12) of the document as it is written, for editors and for the chart. */
export function configJsonSchema(): object {
  return z.toJSONSchema(configSchema, { io: 'input' });
}

function explain(issue: z.core.$ZodIssue, document: unknown): string {
  const found = valueAt(document, issue.path);
  const shown = found === undefined ? 'nothing' : truncate(JSON.stringify(found) ?? String(found));
  switch (issue.code) {
    case 'unrecognized_keys':
      return `found unknown ${issue.keys.length > 1 ? 'keys' : 'key'} ${issue.keys.join(', ')}, expected only documented ones`;
    case 'invalid_type':
      return `found ${shown}, expected ${issue.expected}`;
    case 'invalid_value':
      return `found ${shown}, expected ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`;
    case 'invalid_key':
      return `found a name of a form that is not allowed, ${issue.issues[0]?.message ?? 'expected a plain name'}`;
    case 'invalid_format':
      return `found ${shown}, ${issue.message}`;
    default:
      return issue.message;
  }
}

function valueAt(document: unknown, path: readonly PropertyKey[]): unknown {
  let value = document;
  for (const step of path) value = typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[step] : undefined;
  return value;
}

function truncate(text: string): string {
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
