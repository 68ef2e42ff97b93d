import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { configJsonSchema, parseConfig } from './config.ts';
import { coherent, examples, withRule } from './testing/documents.ts';

describe('configJsonSchema', () => {
  const schema = configJsonSchema();
  // zod's reader of JSON Schema stands in for an editor's.
  const validator = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);

  it.each(examples)('accepts what parseConfig accepts: %s', (_, document) => {
    expect(parseConfig(document).ok).toBe(true);
    expect(validator.safeParse(document).error).toBeUndefined();
  });

  it.each<[string, unknown]>([
    ['an unknown key', coherent({ extra: 1 })],
    ['a source without a topic', { sources: { main: {} } }],
    ['a duration without a unit', coherent({ ttl: { hard: '30' } })],
    ['a size in other units', coherent({ maxItemBytes: '1MB' })],
    ['a percentage without its sign', coherent({ ttl: { jitter: '10' } })],
    ['a malformed template', withRule({ table: 'public.users', keys: ['{id'] })],
    ['a table without a schema', withRule({ table: 'users', keys: ['{id}'] })],
    ['a kind of invalidation that is not there', coherent({ invalidation: 'none' })],
  ])('refuses %s', (_, document) => {
    expect(parseConfig(document).ok).toBe(false);
    expect(validator.safeParse(document).success).toBe(false);
  });

  it('describes every setting', () => {
    const undescribed: string[] = [];
    const visit = (node: unknown, path: string): void => {
      if (typeof node !== 'object' || node === null) return;
      const { properties, additionalProperties, items, description, type } = node as Record<string, unknown>;
      const leaf = properties === undefined && additionalProperties === undefined;
      if (leaf && type !== undefined && description === undefined && !path.endsWith('[]')) undescribed.push(path);
      for (const [name, child] of Object.entries(properties ?? {})) visit(child, `${path}.${name}`);
      visit(additionalProperties, `${path}.*`);
      visit(items, `${path}[]`);
    };
    visit(schema, '');
    expect(undescribed).toEqual([]);
  });
});
