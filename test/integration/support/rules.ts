import { compileRules, type CompiledRules } from '@tidemark/proto';

interface Rule {
  readonly table: string;
  readonly keys?: readonly string[];
  readonly tags?: readonly string[];
}

/** The namespaces of a document, as far as their rules go. */
export type Namespaces = Readonly<Record<string, { readonly source: string; readonly invalidate: readonly Rule[] }>>;

/** A namespace of the source `main`. */
export const rules = (...invalidate: readonly Rule[]) => ({ source: 'main', invalidate });

/** The rules of one namespace. */
export function compiled(name: string, { source, invalidate }: Namespaces[string]): CompiledRules {
  const filled = invalidate.map(({ table, keys = [], tags = [] }) => ({ table, keys, tags }));
  return compileRules([{ name, source, rules: filled }]);
}

/** Hash of a namespace, as records name it. */
export function hashOf(name: string, namespace: Namespaces[string]): bigint {
  const [only] = compiled(name, namespace).namespaces;
  if (only === undefined) throw new Error(`no rules of ${name}`);
  return only.hash;
}
