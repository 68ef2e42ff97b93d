import {
  MAX_CONFIG_RECORD_BYTES,
  parseConfig,
  rulesHash,
  rulesInputs,
  type ConfigIssue,
  type NamespaceConfig,
  type RulesInput,
  type TidemarkConfig,
} from '@tidemark/proto';
import { canonicalJson } from './canonical.ts';

/** Most namespaces of a source. */
export const MAX_NAMESPACES = 5000;
/** Longest text of all specs together, with room for what stands around them in a record. */
const MAX_CHARS = MAX_CONFIG_RECORD_BYTES / 2;

/** A document as it was written, and what it means. */
export interface Written {
  readonly document: {
    readonly sources: Readonly<Record<string, unknown>>;
    readonly namespaces?: Readonly<Record<string, object>>;
  };
  readonly config: TidemarkConfig;
}

/** A CacheNamespace, as far as it decides anything. */
export interface NamespaceResource {
  readonly uid: string;
  /** Namespace of Kubernetes that it lives in. */
  readonly namespace: string;
  /** Its own name, and that of the cache's namespace. */
  readonly name: string;
  readonly createdAtMs: number;
  readonly spec: unknown;
  /** The source that its status says it belongs to; undefined while nobody has said so. */
  readonly claimedBy: string | undefined;
}

export type RefusedReason = 'Invalid' | 'NameTaken' | 'TooMany';

/** What became of a resource. */
export type Verdict =
  /** `hash` is undefined where nothing invalidates (`ttl_only`). */
  | { readonly kind: 'accepted'; readonly hash: bigint | undefined }
  | { readonly kind: 'refused'; readonly reason: RefusedReason; readonly message: string }
  /** It belongs to another source, whose invalidator speaks of it. */
  | { readonly kind: 'ignored' };

/** What holds for a source, of the document and the resources together. */
export interface EffectiveConfig {
  /** As it is published: as it was written, with the one source. */
  readonly document: object;
  /** Equal for equal documents. */
  readonly text: string;
  readonly rules: readonly RulesInput[];
  /** By uid of the resource. */
  readonly verdicts: ReadonlyMap<string, Verdict>;
}

type Checked =
  | { readonly kind: 'valid'; readonly namespace: NamespaceConfig; readonly chars: number }
  | { readonly kind: 'invalid'; readonly why: string };

/** See {@link effectiveConfig}. */
export type Memory = WeakMap<NamespaceResource, Checked>;

/**
 * Puts document and resources together. Total: a resource that cannot be used is told of by its verdict and concerns no other.
 * The document comes before any resource, and among resources of one name the oldest counts, also while it is invalid, so that
 * mending it changes nothing for others. O(resources log resources).
 */
export function effectiveConfig(options: {
  readonly source: string;
  readonly file: Written;
  readonly resources: readonly NamespaceResource[];
  /** Remembers what was found out about resources, for as long as they are the same objects and the source is the same. */
  readonly memory?: Memory;
}): EffectiveConfig {
  const { source, file, resources, memory = new WeakMap() } = options;
  const sources = { [source]: file.document.sources[source] };
  const written = new Map<string, object>();
  const parsed = new Map<string, NamespaceConfig>();
  const holders = new Map<string, string>();
  const verdicts = new Map<string, Verdict>();
  for (const [name, namespace] of Object.entries(file.config.namespaces)) {
    if (namespace.source !== source) continue;
    written.set(name, file.document.namespaces?.[name] ?? {});
    parsed.set(name, namespace);
    holders.set(name, 'the document of the release');
  }
  let chars = 0;
  for (const resource of resources.toSorted(byAge)) {
    const { uid, name, namespace } = resource;
    const spec = specOf(resource, source);
    if (spec === undefined) {
      verdicts.set(uid, { kind: 'ignored' });
      continue;
    }
    const holder = holders.get(name);
    if (holder !== undefined) {
      verdicts.set(uid, refused('NameTaken', `${name} is defined by ${holder} already: give this one another name`));
      continue;
    }
    holders.set(name, `${namespace}/${name}`);
    const checked = memory.get(resource) ?? check({ name, spec, sources });
    memory.set(resource, checked);
    if (checked.kind === 'invalid') {
      verdicts.set(uid, refused('Invalid', checked.why));
      continue;
    }
    chars += checked.chars;
    if (written.size >= MAX_NAMESPACES || chars > MAX_CHARS) {
      const message = `the source has ${written.size} namespaces, expected at most ${MAX_NAMESPACES} in ${MAX_CHARS} characters: take some away, or divide them between sources`;
      verdicts.set(uid, refused('TooMany', message));
      continue;
    }
    written.set(name, spec);
    parsed.set(name, checked.namespace);
    verdicts.set(uid, { kind: 'accepted', hash: undefined });
  }
  const config = { sources: file.config.sources, namespaces: Object.fromEntries(parsed) };
  const rules = rulesInputs(config, source);
  const hashes = new Map(rules.map((input) => [input.name, rulesHash(input)]));
  for (const { uid, name } of resources)
    if (verdicts.get(uid)?.kind === 'accepted') verdicts.set(uid, { kind: 'accepted', hash: hashes.get(name) });
  const document = {
    sources,
    namespaces: Object.fromEntries([...written].toSorted(([a], [b]) => (a < b ? -1 : 1))),
  };
  return { document, text: canonicalJson(document), rules, verdicts };
}

function check(options: { readonly name: string; readonly spec: object; readonly sources: object }): Checked {
  const { name, spec, sources } = options;
  const result = parseConfig({ sources, namespaces: { [name]: spec } });
  if (!result.ok) return { kind: 'invalid', why: result.issues.map((issue) => told(issue, name)).join('; ') };
  const namespace = result.config.namespaces[name] as NamespaceConfig;
  return { kind: 'valid', namespace, chars: JSON.stringify(spec).length };
}

/** The oldest first; what was made in the same second by name, then by uid. */
function byAge(a: NamespaceResource, b: NamespaceResource): number {
  const key = ({ namespace, uid }: NamespaceResource): string => `${namespace}\0${uid}`;
  return a.createdAtMs - b.createdAtMs || (key(a) < key(b) ? -1 : 1);
}

/**
 * The namespace as the document would say it; undefined where it belongs to another source. Without a source of its own it
 * belongs to whoever has claimed it, so that two releases do not both take it for theirs.
 */
function specOf({ spec, claimedBy }: NamespaceResource, source: string): object | undefined {
  const isObject = typeof spec === 'object' && spec !== null && !Array.isArray(spec);
  const named = isObject && 'source' in spec ? spec.source : undefined;
  if ((named ?? claimedBy ?? source) !== source) return undefined;
  // What is no object is refused like any other document.
  return isObject ? { ...spec, source } : { spec };
}

function refused(reason: RefusedReason, message: string): Verdict {
  return { kind: 'refused', reason, message };
}

function told({ path, message }: ConfigIssue, name: string): string {
  const place = path.replace(`namespaces.${name}`, 'spec');
  return place === '' ? message : `${place}: ${message}`;
}
