import { z } from 'zod';
import { ANY_KEY, parseKeyPattern, WHOLE_KEY, type KeyPattern } from '../key-pattern.ts';
import { parseTemplate, TEMPLATE } from '../template.ts';
import { duration, SECOND_MS } from './quantities.ts';
import { template } from './rule.ts';
import { show } from './show.ts';

const MAX_SQL_CHARS = 10_000;
const MAX_URL_CHARS = 2_000;
/** Begins names of request headers by which values differ (`vary`). */
const HEADER = 'header.';
/** Names of header fields (RFC 9110 section 5.1). */
export const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/;
/** Values of them that cannot end the field (RFC 9110 section 5.5). */
export const FIELD_VALUE = /^[\x20-\x7e\t]*$/;
const MAX_FIELD_CHARS = 2_000;
/** Fields that say how the request is carried, or are ours to set. */
export const OUR_FIELDS =
  /^(?:host|connection|keep-alive|content-length|transfer-encoding|upgrade|te|trailer|expect|tidemark-.*)$/i;

const http = z.strictObject({
  url: z
    .string()
    .max(MAX_URL_CHARS)
    .describe('http:// or https://, with {key} or parts of it in its path or query; each is percent-encoded.'),
  headers: z
    .record(
      z.string().regex(FIELD_NAME),
      z.string().regex(FIELD_VALUE, 'expected printable ASCII characters').max(MAX_FIELD_CHARS).describe('Its value.'),
    )
    .default({})
    .describe('Header fields to send. The document is no place for secrets.'),
  retries: z
    .int()
    .min(0)
    .max(5)
    .default(2)
    .describe('How often it is asked again within the timeout: after lost connections, 429, 502, 503 and 504.'),
  connections: z.int().min(1).max(256).default(16).describe('How many requests are under way at once.'),
});

const TIMEOUT_MS = 2 * SECOND_MS;
const BREAKER = { failures: 5, for: 2 * SECOND_MS } as const;

const fields = {
  key: z
    .string()
    .max(1000)
    .optional()
    .meta({ pattern: TEMPLATE.source })
    .describe(
      'Shape of the keys that it loads, such as by-email:{email}, whose parts it can name. Default: every key.',
    ),
  sql: z
    .string()
    .min(1)
    .max(MAX_SQL_CHARS)
    .optional()
    .describe('One SELECT, whose row is the value: the one column as it is, several as a JSON object.'),
  params: z
    .array(template)
    .max(32)
    .optional()
    .describe('What $1, $2, ... stand for, with {key} or parts of it. Default: {key}, where the statement has $1.'),
  rows: z
    .enum(['one', 'many'])
    .optional()
    .describe('one: no row says that there is nothing, two are an error. many: a JSON array of all. Default: one.'),
  contentType: z
    .string()
    .regex(/^[a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]+(?:;[\x20-\x7e]*)?$/i, 'expected a media type such as text/html')
    .max(200)
    .optional()
    .describe('Of the value. Default: by the type of the column, or as the answer says.'),
  tags: z
    .array(template)
    .max(64)
    .optional()
    .describe('Tags of the value, with {key} or parts of it; with sql also with columns of each row.'),
  http: http.optional().describe("The application's own endpoint, instead of sql."),
  timeout: duration('10ms to 10s', { min: 10, max: 10 * SECOND_MS })
    .optional()
    .describe('For a load as a whole, waiting for a connection included. Default: 2s.'),
  breaker: z
    .strictObject({
      failures: z.int().min(1).max(1000).default(BREAKER.failures).describe('How many failures in a row open it.'),
      for: duration('100ms to 10m', { min: 100, max: 600 * SECOND_MS })
        .prefault('2s')
        .describe('How long nothing is asked then; a single load tries afterwards.'),
    })
    .optional()
    .describe('Spares whoever is asked, and those who wait, while it fails.'),
};

const loader = z.strictObject(fields);

const MAX_SHAPES = 16;

/**
 * How a namespace's missing values are loaded: by one loader, or by the first of several whose shape a key has. Always a list once it is
 * parsed.
 */
export const load = z
  .strictObject({
    ...fields,
    byKey: z
      .array(loader)
      .min(1)
      .max(MAX_SHAPES)
      .optional()
      .describe('Several loaders instead of one: the first whose key fits loads; where none fits, callers do.'),
  })
  .transform((value, context): readonly LoaderConfig[] => {
    const { byKey, ...one } = value;
    const complete = (found: z.output<typeof loader>, path: Path): LoaderConfig | undefined =>
      completed(found, (below, message) => context.addIssue({ code: 'custom', path: [...path, ...below], message }));
    const beside = Object.keys(one);
    if (byKey !== undefined && beside.length > 0) {
      const message = `found byKey and ${beside.join(', ')} beside it, expected all of it in byKey`;
      context.addIssue({ code: 'custom', message });
    }
    const loaders = byKey?.map((found, i) => complete(found, ['byKey', i])) ?? [complete(one, [])];
    return loaders.filter((found) => found !== undefined);
  });

type Path = readonly (string | number)[];

/** What all loaders have. */
interface Common {
  /** Pattern of its keys, `{key}` where all are. */
  readonly key: string;
  readonly contentType: string | undefined;
  /** Templates over parts of the key and, with SQL, columns. */
  readonly tags: readonly string[];
  /** Milliseconds. */
  readonly timeout: number;
  readonly breaker: { readonly failures: number; readonly for: number };
}

export interface SqlLoaderConfig extends Common {
  readonly kind: 'sql';
  /** One statement without a semicolon at its end. */
  readonly sql: string;
  readonly params: readonly string[];
  readonly rows: 'one' | 'many';
}

export interface HttpLoaderConfig extends Common {
  readonly kind: 'http';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly retries: number;
  readonly connections: number;
}

export type LoaderConfig = SqlLoaderConfig | HttpLoaderConfig;

function patternOf(key: string | undefined, complain: (message: string) => void): KeyPattern {
  if (key === undefined) return ANY_KEY;
  try {
    return parseKeyPattern(key);
  } catch (error) {
    complain(`found ${show(key)}, expected a shape of keys such as by-email:{email}: ${(error as Error).message}`);
    return ANY_KEY;
  }
}

/** Request headers that loaders name, with the place of each. */
export function headersOfLoad(loaders: readonly LoaderConfig[] | undefined): (readonly [name: string, text: string])[] {
  // Where something in it was refused, zod gives it as it was written.
  if (!Array.isArray(loaders)) return [];
  const texts = (loaders as readonly LoaderConfig[]).flatMap((one) => [
    ...one.tags,
    ...(one.kind === 'sql' ? one.params : [one.url]),
  ]);
  return texts.flatMap((text) =>
    parseTemplate(text)
      .columns.filter((name) => name.startsWith(HEADER))
      .map((name) => [name.slice(HEADER.length), text] as const),
  );
}

/** Why a template is no URL whose path or query alone depends on the key, in words that begin with "expected"; undefined if it is. */
export function wrongUrl(text: string): string | undefined {
  try {
    const { literals, columns } = parseTemplate(text);
    const [origin] = /^https?:\/\/[^/?#{}\s]+(?=[/?])/.exec(literals[0] as string) ?? [];
    if (origin === undefined)
      return 'expected http://HOST:PORT/PATH, with {key} only in its path or query: nobody who asks may choose the host';
    // What a request takes as its target (RFC 9112 section 3.2).
    const [odd] = /[^\x21-\x7e]|#/u.exec(literals.join('').slice(origin.length)) ?? [];
    if (odd !== undefined)
      return `expected visible ASCII without "#" behind the host, and what is none percent-encoded (${encodeURIComponent(odd)})`;
    const url = new URL(columns.reduce((sum, _, i) => `${sum}x${literals[i + 1]}`, literals[0] as string));
    if (url.username !== '' || url.password !== '')
      return 'expected no user in it: the document is no place for secrets';
    return undefined;
  } catch (error) {
    return `expected a URL: ${(error as Error).message}`;
  }
}

/** With its defaults; what contradicts is told. */
function completed(
  found: z.output<typeof loader>,
  complain: (path: Path, message: string) => void,
): LoaderConfig | undefined {
  const { key, sql, params, rows, contentType, tags = [], http: endpoint } = found;
  const { timeout = TIMEOUT_MS, breaker = BREAKER } = found;
  const pattern = patternOf(key, (message) => complain(['key'], message));
  const known = [WHOLE_KEY, ...pattern.names];
  const checkNames = (path: Path, text: string): void => {
    for (const name of parseTemplate(text).columns) {
      if (known.includes(name) || name.startsWith(HEADER)) continue;
      complain(
        path,
        `found {${name}} in ${show(text)}, expected ${[...known, `${HEADER}NAME`].map((one) => `{${one}}`).join(' or ')}`,
      );
    }
  };
  const common = { key: pattern.text, contentType, tags, timeout, breaker };
  if ((sql === undefined) === (endpoint === undefined)) {
    complain([], `found ${sql === undefined ? 'neither sql nor http' : 'both sql and http'}, expected one of them`);
    return undefined;
  }
  if (sql !== undefined) {
    const given = params ?? (/\$\d/.test(sql) ? [ANY_KEY.text] : []);
    const highest = Math.max(0, ...[...sql.matchAll(/\$(\d+)/g)].map(([, digits]) => Number(digits)));
    if (highest !== given.length) {
      const expected = highest === 0 ? 'none' : `one for each of $1 to $${highest}`;
      complain(['params'], `found ${given.length}, expected ${expected}: Postgres would refuse ${show(sql)}`);
    }
    for (const [i, text] of given.entries()) checkNames(['params', i], text);
    return { ...common, kind: 'sql', sql: sql.replace(/[;\s]+$/, ''), params: given, rows: rows ?? 'one' };
  }
  if (params !== undefined) complain(['params'], 'found params, expected none with http: put {key} into its url');
  if (rows !== undefined) complain(['rows'], 'found rows, expected none with http: its answer is the value');
  for (const [i, text] of tags.entries()) checkNames(['tags', i], text);
  const { url, headers, retries, connections } = endpoint as z.output<typeof http>;
  const wrong = wrongUrl(url);
  if (wrong === undefined) checkNames(['http', 'url'], url);
  else complain(['http', 'url'], `found ${show(url)}, ${wrong}`);
  for (const name of Object.keys(headers).filter((field) => OUR_FIELDS.test(field)))
    complain(['http', 'headers', name], `found ${show(name)}, expected none that the sidecar sets itself`);
  return { ...common, kind: 'http', url, headers, retries, connections };
}
