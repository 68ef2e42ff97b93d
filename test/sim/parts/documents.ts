import {
  compileRules,
  parseConfig,
  rulesHash,
  rulesInputs,
  type RulesInput,
  type TidemarkConfig,
} from '@tidemark/proto';
import { ruleSet, type RuleSet } from '../../../invalidator/src/core/rule-set.ts';
import { ROWS, type KeySpec } from './keys.ts';
import { TABLE } from './publication.ts';

/** A configuration, and what applications keep in the cache while it is in force. */
export interface SimDocument {
  readonly config: TidemarkConfig;
  readonly rules: readonly RulesInput[];
  readonly keys: readonly KeySpec[];
}

type Namespaces = Readonly<Record<string, object>>;

const byId = { source: 'main', invalidate: [{ table: TABLE, keys: ['{id}'] }] };
const lists = { source: 'main', invalidate: [{ table: TABLE, tags: ['row:{id}'] }] };
const byIdKeys = ROWS.map((row): KeySpec => ({ namespace: 'byid', key: row, rows: [row], tags: [] }));
const listKeys = (tag: (row: string) => string | undefined): readonly KeySpec[] =>
  [
    { key: 'one', rows: ['a'] },
    { key: 'both', rows: ROWS },
  ].map(({ key, rows }) => ({
    ...{ namespace: 'lists', key, rows },
    tags: rows.map(tag).filter((each) => each !== undefined),
  }));

function documentOf(namespaces: Namespaces, keys: readonly KeySpec[]): SimDocument {
  const parsed = parseConfig({ sources: { main: { topic: 't' } }, namespaces });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return { config: parsed.config, rules: rulesInputs(parsed.config, 'main'), keys };
}

/** The same keys under rules that evict them by other names; namespaces that come and go, and so move the others' indexes. */
export const DOCUMENTS = [
  documentOf({ byid: byId, lists }, [...byIdKeys, ...listKeys((row) => `row:${row}`)]),
  documentOf(
    {
      byid: { source: 'main', invalidate: [{ table: TABLE, tags: ['of:{id}'] }] },
      lists: { source: 'main', invalidate: [{ table: TABLE, keys: ['one', 'both'] }] },
    },
    [...byIdKeys.map((spec) => ({ ...spec, tags: [`of:${spec.key}`] })), ...listKeys(() => undefined)],
  ),
  documentOf({ byid: byId, more: { source: 'main', invalidate: [{ table: TABLE, keys: ['m{id}'] }] } }, [
    ...byIdKeys,
    ...ROWS.map((row) => ({ namespace: 'more', key: `m${row}`, rows: [row], tags: [] })),
  ]),
  documentOf({ byid: { ...byId, ttl: { hard: '5m' } }, lists }, [...byIdKeys, ...listKeys((row) => `row:${row}`)]),
  documentOf({ above: { source: 'main', invalidate: [{ table: TABLE, tags: ['x:{id}'] }] }, byid: byId, lists }, [
    { namespace: 'above', key: 'k', rows: ['a'], tags: ['x:a'] },
    ...byIdKeys,
    ...listKeys((row) => `row:${row}`),
  ]),
] as const satisfies readonly SimDocument[];

/** What {@link DOCUMENTS} begins with, where sidecars load `byid` themselves and everything is kept that may be. */
export const FEATURES = documentOf(
  {
    byid: {
      ...byId,
      ttl: { soft: '1s', hard: '5s', staleIfError: '30s' },
      onInvalidate: 'stale',
      grace: { for: '20s', serve: 'always' },
    },
    lists: { ...lists, ttl: { soft: '1s', hard: '5s', staleIfError: '30s' }, onInvalidate: 'stale' },
  },
  DOCUMENTS[0].keys,
);

/** Rules of every document, each once. */
export const ALL_RULES = compileRules([
  ...new Map(DOCUMENTS.flatMap(({ rules }) => rules).map((input) => [rulesHash(input), input])).values(),
]);

/** What a publisher works by that has a document, and remembers the one before. */
export function rulesOf(document: SimDocument, before: SimDocument | undefined): RuleSet {
  const current = new Set(document.rules.map(rulesHash));
  return ruleSet(
    document.rules,
    before?.rules.filter((input) => !current.has(rulesHash(input))),
  );
}
