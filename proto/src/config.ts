import { z } from 'zod';
import { name } from './config/name.ts';
import { namespaceSchema } from './config/namespace.ts';
import { show } from './config/show.ts';

export type { HttpLoaderConfig, LoaderConfig, SqlLoaderConfig } from './config/load.ts';
export { NAME_PATTERN } from './config/name.ts';
export { DEFAULT_L1_SIZE, L1_POLICIES, type L1Policy } from './config/l1.ts';
export { ENTRY_ROOM_BYTES, namespaceSchema } from './config/namespace.ts';
export { MAX_WARM_KEYS, warmDefaults, type WarmConfig } from './config/warm.ts';
export { quantities, type QuantityLimits } from './config/quantities.ts';
export type { WriteBehindConfig, WriteParam, WriteStatement } from './config/write-behind.ts';
export {
  headerOfParam,
  type WriteThroughConfig,
  type WriteThroughHttp,
  type WriteThroughSql,
  type WriteThroughStep,
} from './config/write-through.ts';

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

/** What the document calls what the schema has another word for. */
const EXPECTED: Readonly<Record<string, string>> = {
  int: 'a whole number',
  record: 'object',
  boolean: 'true or false',
};

/** "found …, expected …", in the words of the document. */
function explain(issue: z.core.$ZodIssue, found: unknown): string {
  switch (issue.code) {
    case 'unrecognized_keys':
      return `found unknown ${issue.keys.length > 1 ? 'keys' : 'key'} ${issue.keys.join(', ')}, expected only documented ones`;
    case 'invalid_type':
      return `found ${show(found)}, ${issue.message.startsWith('expected') ? issue.message : `expected ${EXPECTED[issue.expected] ?? issue.expected}`}`;
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
