import { z } from 'zod';
import {
  DEFAULT_L1_SIZE,
  ENTRY_ROOM_BYTES,
  NAME_PATTERN,
  namespaceSchema,
  quantities,
  type QuantityLimits,
} from './config.ts';
import { parseSizeBytes, SIZE_BYTES } from './units.ts';

/** The custom resource that holds one namespace of the document. */
export const CACHE_NAMESPACE = {
  group: 'tidemark.dev',
  version: 'v1',
  plural: 'cachenamespaces',
  kind: 'CacheNamespace',
} as const;

/** Most statements that a status shows, and most characters of one: what is longer is in the log. */
export const STATUS_LIMITS = { statements: 64, statementChars: 2048, messageChars: 4096 } as const;

type Schema = Record<string, unknown>;

/** A rule in CEL; `self` is what it stands at. */
interface Validation {
  readonly rule: string;
  readonly message: string;
}

/**
 * The CustomResourceDefinition: the schema of a namespace as OpenAPI v3 in the structural form that Kubernetes asks for, with
 * CEL for what a schema cannot say. What it accepts the invalidator accepts too, but for templates, what names parts of
 * keys, and names of tables that only differ in rare white space.
 *
 * No defaults are written into resources: a resource stays what its author wrote, and a default is the release's.
 */
export function cacheNamespaceCrd(): object {
  const { group, version, plural, kind } = CACHE_NAMESPACE;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${plural}.${group}`,
      // Without the definition Kubernetes would delete every resource of it: no uninstall may do that.
      annotations: { 'helm.sh/resource-policy': 'keep' },
    },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural, singular: 'cachenamespace', kind, listKind: `${kind}List`, shortNames: ['cns'] },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: [
            column('Source', 'string', '.status.source', 'The source whose changes invalidate it.'),
            column('Accepted', 'string', condition('Accepted'), 'Whether its rules are part of the configuration.'),
            column('Served', 'string', condition('Served'), 'Whether every change that its rules need is sent.'),
            column('Rules', 'string', '.status.rulesHash', 'Hash of its name, source and rules.'),
            column('Reason', 'string', '.status.conditions[?(@.status=="False")].reason', 'Why not.', 1),
            column('Age', 'date', '.metadata.creationTimestamp', 'Since when it is there.'),
          ],
          schema: { openAPIV3Schema: resourceSchema() },
        },
      ],
    },
  };
}

const condition = (type: string): string => `.status.conditions[?(@.type=="${type}")].status`;

// oxlint-disable-next-line eslint/max-params -- a table reads better
function column(name: string, type: string, jsonPath: string, description: string, priority = 0): object {
  return { name, type, jsonPath, description, ...(priority > 0 && { priority }) };
}

function resourceSchema(): Schema {
  return {
    type: 'object',
    description:
      'A namespace of the cache; its name is that of the resource. The first resource of a name counts, and the document of the release before any.',
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      // The only things that a definition may say of metadata are name and generateName.
      metadata: {
        type: 'object',
        properties: { name: { type: 'string', maxLength: 63, pattern: NAME_PATTERN.source } },
      },
      spec: specSchema(),
      status: statusSchema(),
    },
  };
}

function specSchema(): Schema {
  const { $schema: _, ...spec } = z.toJSONSchema(namespaceSchema, {
    io: 'input',
    override: ({ zodSchema, jsonSchema }) => {
      const limits = quantities.get(zodSchema);
      if (limits !== undefined) Object.assign(jsonSchema, validations([within(limits)]));
    },
  }) as Schema;
  const structural = toStructural(spec) as { properties: Record<string, Schema>; [key: string]: unknown };
  const { source, invalidate, load, ...others } = structural.properties;
  const items = { ...(invalidate?.['items'] as Schema), ...validations([someNames]) };
  return {
    ...structural,
    required: undefined,
    description: 'What the document says of a namespace; what is left out has its default.',
    properties: {
      source: { ...source, description: `${String(source?.['description'])} Default: that of the release.` },
      ...others,
      invalidate: { ...invalidate, items },
      load: withOneOrigin(load as Schema),
    },
    ...validations([someRule, fits()]),
  };
}

const validations = (rules: readonly Validation[]): Schema => ({ 'x-kubernetes-validations': rules });

const has = (path: string): string => `has(self.${path})`;
const filled = (path: string): string => `(${has(path)} && size(self.${path}) > 0)`;

const someNames: Validation = {
  rule: `${filled('keys')} || ${filled('tags')}`,
  message: 'found neither keys nor tags, expected at least one of them',
};

const someRule: Validation = {
  rule: `(${has('invalidation')} && self.invalidation == 'ttl_only') || ${filled('invalidate')}`,
  message:
    'found no rule in invalidate, expected at least one: without rules nothing would ever evict these entries (or say invalidation: ttl_only)',
};

const oneOrigin = `${has('sql')} != ${has('http')}`;
const expectsOrigin = 'found neither sql nor http, or both, expected one of them';

/** A loader asks one thing, and so does each of several. */
function withOneOrigin(load: Schema): Schema {
  const { byKey, ...others } = load['properties'] as Record<string, Schema>;
  const { items } = byKey as { items: Schema };
  return {
    ...load,
    properties: {
      ...others,
      byKey: { ...byKey, items: { ...items, ...validations([{ rule: oneOrigin, message: expectsOrigin }]) } },
    },
    ...validations([
      {
        rule: `${has('byKey')} ? !(${Object.keys(others).map(has).join(' || ')}) : ${oneOrigin}`,
        message: `${expectsOrigin}; beside byKey nothing`,
      },
    ]),
  };
}

function fits(): Validation {
  const inMemory = whole(counted('self.l1.maxBytes', SIZE_BYTES));
  const memory = `(${has('l1')} && ${has('l1.maxBytes')} ? ${inMemory} : ${parseSizeBytes(DEFAULT_L1_SIZE)})`;
  const item = whole(counted('self.maxItemBytes', SIZE_BYTES));
  return {
    rule: `!${has('maxItemBytes')} || ${item} <= ${memory} - ${ENTRY_ROOM_BYTES}`,
    message:
      'maxItemBytes: expected at most 4KiB less than l1.maxBytes: the sidecar could not hold larger values in its memory',
  };
}

function within({ units, min, max, isWhole }: QuantityLimits): Validation {
  const value = counted('self', units);
  const literal = isWhole ? String : double;
  return {
    rule: `[${isWhole ? whole(value) : value}].all(found, found >= ${literal(min)} && found <= ${literal(max)})`,
    message: `expected a quantity from ${spoken(min, units)} to ${spoken(max, units)}`,
  };
}

/** The number of base units of a text, in CEL. */
function counted(text: string, units: Readonly<Record<string, number>>): string {
  const byLength = Object.entries(units).toSorted(([a], [b]) => b.length - a.length);
  const factor = byLength.reduceRight(
    (otherwise, [unit, count]) =>
      otherwise === '' ? double(count) : `${text}.endsWith('${unit}') ? ${double(count)} : ${otherwise}`,
    '',
  );
  return `double(${text}.find('^[0-9.]+')) * (${factor})`;
}

const double = (count: number): string => (Number.isInteger(count) ? `${count}.0` : String(count));
const whole = (value: string): string => `int(${value} + 0.5)`;

/** A limit in the coarsest unit that writes it as a whole number. */
function spoken(limit: number, units: Readonly<Record<string, number>>): string {
  const coarsest = Object.entries(units)
    .toSorted(([, a], [, b]) => b - a)
    .find(([, count]) => Number.isInteger(limit / count));
  const [unit, count] = coarsest ?? ['', 1];
  return `${limit / count}${unit}`;
}

/**
 * Kubernetes prunes fields that the schema does not name, and refuses them where the client asks for it (kubectl does), so a
 * structural schema may not forbid them itself; defaults are told in words.
 */
function toStructural(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(toStructural);
  if (typeof node !== 'object' || node === null) return node;
  const { additionalProperties, default: fallback, propertyNames: _, ...rest } = node as Schema;
  const schema: Schema = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, toStructural(value)]));
  if (typeof additionalProperties === 'object') schema['additionalProperties'] = toStructural(additionalProperties);
  if (typeof schema['description'] === 'string' && isTellable(fallback))
    schema['description'] += ` Default: ${String(fallback)}.`;
  return schema;
}

const isTellable = (fallback: unknown): boolean => fallback !== undefined && typeof fallback !== 'object';

function statusSchema(): Schema {
  const { statements, statementChars, messageChars } = STATUS_LIMITS;
  const text = (description: string, more: Schema = {}): Schema => ({ type: 'string', description, ...more });
  const generation = { type: 'integer', format: 'int64', minimum: 0 };
  return {
    type: 'object',
    description: 'What the invalidator says of it.',
    properties: {
      observedGeneration: { ...generation, description: 'The generation of the resource that this status is about.' },
      source: text('The source whose changes invalidate it.'),
      rulesHash: text('Hash of its name, source and rules in 16 hex digits; sidecars that have it follow these rules.'),
      mend: {
        type: 'array',
        description: 'SQL that mends what keeps the namespace from being served.',
        maxItems: statements,
        items: { type: 'string', maxLength: statementChars },
      },
      conditions: {
        type: 'array',
        description:
          'Accepted: its rules are part of the configuration. Served: every change that its rules need reaches the caches.',
        maxItems: 8,
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['type'],
        items: {
          type: 'object',
          required: ['type', 'status', 'reason', 'message', 'lastTransitionTime'],
          properties: {
            type: text('Accepted or Served.', { maxLength: 316 }),
            status: text('True, False or Unknown.', { enum: ['True', 'False', 'Unknown'] }),
            reason: text('Why, in one word.', {
              maxLength: 1024,
              pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$',
            }),
            message: text('Why, in words.', { maxLength: messageChars }),
            lastTransitionTime: text('When status changed last.', { format: 'date-time' }),
            observedGeneration: { ...generation, description: 'The generation that this was said of.' },
          },
        },
      },
    },
  };
}
