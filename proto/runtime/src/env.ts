import { parseDurationMs } from '@tidemark/proto';

/** One environment variable: how it is read and what help says about it. */
export interface Variable<T> {
  readonly name: string;
  readonly description: string;
  /** Throws an Error whose message begins with "expected". */
  readonly parse: (text: string) => T;
  /** Text that stands for an unset variable; undefined where there is none. */
  readonly default?: string;
  /** What an unset variable without a default is; a variable without this must be set. */
  readonly whenUnset?: { readonly value: T };
  /** Its value is not shown in errors. */
  readonly secret?: boolean;
}

/** Variables by the name of the setting they give. */
export type EnvSpec = Readonly<Record<string, Variable<unknown>>>;

/** The settings that a specification gives. */
export type EnvOf<S extends EnvSpec> = { readonly [K in keyof S]: S[K] extends Variable<infer T> ? T : never };

interface VariableOptions<T> {
  readonly description: string;
  readonly parse: (text: string) => T;
  readonly secret?: boolean;
}

/** A variable that must be set. */
export function required<T>(name: string, options: VariableOptions<T>): Variable<T> {
  return { name, ...options };
}

/** A variable whose absence means something of its own: undefined. */
export function optional<T>(name: string, options: VariableOptions<T>): Variable<T | undefined> {
  return { name, ...options, whenUnset: { value: undefined } };
}

/** A variable with a default, written as it would be in the environment. */
export function withDefault<T>(name: string, defaultText: string, options: VariableOptions<T>): Variable<T> {
  return { name, ...options, default: defaultText };
}

/** Everything wrong with an environment, one issue a line. */
export class EnvError extends Error {
  override name = 'EnvError';
  readonly issues: readonly string[];

  constructor(issues: readonly string[]) {
    super(issues.join('\n'));
    this.issues = issues;
  }
}

/** Names that are ours but no setting of a service. */
const FOREIGN = /^TIDEMARK_(?:TEST_.*|CACHE)$/;
/** What Kubernetes and Docker inject for a Service that happens to be called "tidemark...". */
const SERVICE_LINK =
  /^TIDEMARK_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/;

/**
 * Reads the settings of a service. An empty value counts as unset. Throws {@link EnvError} with every issue at once:
 * missing and malformed values, and unknown TIDEMARK_* names (a mistyped name would silently keep a default).
 * @param options.alsoKnown names that other processes of the product read from the same environment
 */
export function readEnv<S extends EnvSpec>(
  spec: S,
  env: Readonly<Record<string, string | undefined>>,
  options: { readonly alsoKnown?: readonly string[] } = {},
): EnvOf<S> {
  const issues: string[] = [];
  const settings: Record<string, unknown> = {};
  for (const [key, variable] of Object.entries(spec)) {
    const found = env[variable.name];
    const given = found === undefined || found === '' ? variable.default : found;
    if (given === undefined) {
      if (variable.whenUnset === undefined)
        issues.push(`${variable.name}: found nothing, expected a value (${variable.description})`);
      else settings[key] = variable.whenUnset.value;
      continue;
    }
    try {
      settings[key] = variable.parse(given);
    } catch (error) {
      issues.push(
        `${variable.name}: found ${variable.secret === true ? 'a value that cannot be used' : JSON.stringify(given)}, ${(error as Error).message}`,
      );
    }
  }
  const names = Object.values(spec).map((variable) => variable.name);
  const known = new Set([...names, ...(options.alsoKnown ?? [])]);
  for (const name of Object.keys(env).toSorted()) {
    if (!name.startsWith('TIDEMARK_') || known.has(name) || FOREIGN.test(name) || SERVICE_LINK.test(name)) continue;
    const near = nearest(name, names);
    issues.push(`${name}: there is no such setting${near === undefined ? '' : `, did you mean ${near}?`}`);
  }
  if (issues.length > 0) throw new EnvError(issues);
  return Object.freeze(settings) as EnvOf<S>;
}

/** What `--help` says about the environment. */
export function helpText(spec: EnvSpec): string {
  const variables = Object.values(spec);
  const width = Math.max(...variables.map(({ name }) => name.length));
  return variables
    .map((variable) => {
      const state =
        variable.default !== undefined
          ? `[${variable.default}]`
          : variable.whenUnset === undefined
            ? '[required]'
            : '[optional]';
      return `  ${variable.name.padEnd(width)}  ${variable.description} ${state}`;
    })
    .join('\n');
}

/** Any text that is not empty. */
export function text(found: string): string {
  return found;
}

/** `true` or `false`. */
export function flag(found: string): boolean {
  if (found !== 'true' && found !== 'false') throw new Error('expected true or false');
  return found === 'true';
}

/** One of a few words. */
export function oneOf<const W extends string>(...words: readonly W[]): (found: string) => W {
  return (found) => {
    const word = words.find((candidate) => candidate === found);
    if (word === undefined) throw new Error(`expected one of ${words.join(', ')}`);
    return word;
  };
}

/** Milliseconds of a duration such as `250ms` or `5s`, within limits. */
export function duration(limits: { readonly min: string; readonly max: string }): (found: string) => number {
  const min = parseDurationMs(limits.min) ?? 0;
  const max = parseDurationMs(limits.max) ?? Number.MAX_SAFE_INTEGER;
  return (found) => {
    const ms = parseDurationMs(found);
    if (ms === undefined || ms < min || ms > max)
      throw new Error(`expected a duration from ${limits.min} to ${limits.max}, such as 250ms or 5s`);
    return ms;
  };
}

/** `host:port,host:port`, at least one. */
export function hostPorts(found: string): readonly string[] {
  const list = found.split(',').map((part) => part.trim());
  if (!list.every((part) => /^[^\s:,]+:\d{1,5}$/.test(part) && Number(part.slice(part.indexOf(':') + 1)) <= 65_535))
    throw new Error('expected HOST:PORT, several divided by commas');
  return list;
}

/** The known name that a mistyped one most likely meant: fewest edits, at most a third of its length. */
function nearest(name: string, names: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestEdits = Math.floor((name.length - 'TIDEMARK_'.length) / 3) + 1;
  for (const candidate of names) {
    const edits = editDistance(name, candidate);
    if (edits < bestEdits) [best, bestEdits] = [candidate, edits];
  }
  return best;
}

/** Levenshtein distance, O(a x b). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
