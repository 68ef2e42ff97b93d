import { parseConfig, type ConfigIssue, type TidemarkConfig } from './config.ts';

/** Version of the record in the configuration topic that this code writes and reads. */
const VERSION = 1;
/** Longest text of a record: 8 MiB is some 20,000 namespaces, and takes a reader less than half a second. */
export const MAX_CONFIG_RECORD_BYTES = 8 * 1024 * 1024;
/** Most issues of a document that one message names. */
const MAX_TOLD = 5;

/** When a document was published, as its readers compare it: by `term`, then by `revision`. */
export interface ConfigStamp {
  /** Names the time in which one publisher led; a later one has a higher number. */
  readonly term: number;
  /** Counts the documents of a term. */
  readonly revision: number;
}

/** One record of the configuration topic: the document of one source, as it was written. */
export interface ConfigRecord extends ConfigStamp {
  /** As in the YAML file, before parsing: what {@link parseConfig} takes. */
  readonly document: unknown;
  /** The same after parsing. */
  readonly config: TidemarkConfig;
  /** The only source in it. */
  readonly source: string;
}

export type DecodedConfigRecord =
  | { readonly ok: true; readonly record: ConfigRecord }
  /** In words: what was found and what was expected. */
  | { readonly ok: false; readonly why: string };

/**
 * Writes a record. The document is what the operator wrote, with the one source that it is for. Throws a RangeError that
 * says what is wrong with it: no whole numbers, a document that is not valid or names several sources, or one that is too long.
 */
export function encodeConfigRecord(record: ConfigStamp & { readonly document: unknown }): Uint8Array {
  const { term, revision, document } = record;
  const bytes = new TextEncoder().encode(JSON.stringify({ version: VERSION, term, revision, document }));
  const decoded = decodeConfigRecord(bytes);
  if (!decoded.ok) throw new RangeError(`no configuration record: ${decoded.why}`);
  return bytes;
}

/** Reads a record. What is not understood is no reason to fail: its reader keeps what it has, and says so. */
export function decodeConfigRecord(bytes: Uint8Array): DecodedConfigRecord {
  if (bytes.length > MAX_CONFIG_RECORD_BYTES)
    return refused(`found ${bytes.length} bytes, expected at most ${MAX_CONFIG_RECORD_BYTES}`);
  let found: unknown;
  try {
    found = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return refused('expected JSON');
  }
  if (typeof found !== 'object' || found === null || Array.isArray(found)) return refused('expected an object');
  const { version, term, revision, document } = found as Readonly<Record<string, unknown>>;
  if (version !== VERSION)
    return refused(`version: found ${String(version)}, expected ${VERSION}: another version of Tidemark wrote it`);
  if (!isCount(term)) return refused('term: expected a whole number from 0');
  if (!isCount(revision)) return refused('revision: expected a whole number from 0');
  const parsed = parseConfig(document);
  if (!parsed.ok) return refused(explain(parsed.issues));
  const sources = Object.keys(parsed.config.sources);
  const [source] = sources;
  if (source === undefined || sources.length !== 1)
    return refused(`document.sources: found ${sources.join(', ')}, expected one source`);
  return { ok: true, record: { term, revision, document, config: parsed.config, source } };
}

/** Below 0 where `a` is older than `b`, 0 where neither is. */
export function compareConfigStamps(a: ConfigStamp, b: ConfigStamp): number {
  return a.term - b.term || a.revision - b.revision;
}

/**
 * The term of a publisher that begins to lead: above every term in the topic, so that readers take what it says even if its own
 * count was set back (a Lease that was made anew). It must keep this number for as long as it leads, and yield to a higher one.
 */
export function nextConfigTerm(newest: ConfigStamp | undefined, ownCount: number): number {
  return Math.max(ownCount, newest === undefined ? 0 : newest.term + 1);
}

function explain(issues: readonly ConfigIssue[]): string {
  const told = issues.slice(0, MAX_TOLD).map(({ path, message }) => `document${path && `.${path}`}: ${message}`);
  return [...told, ...(issues.length > MAX_TOLD ? [`and ${issues.length - MAX_TOLD} more`] : [])].join('; ');
}

function isCount(found: unknown): found is number {
  return Number.isSafeInteger(found) && (found as number) >= 0;
}

function refused(why: string): DecodedConfigRecord {
  return { ok: false, why };
}
