import { z } from 'zod';
import { ANY_KEY, parseKeyPattern, WHOLE_KEY } from '../key-pattern.ts';
import { parseTemplate, TEMPLATE } from '../template.ts';
import { FIELD_NAME, FIELD_VALUE, OUR_FIELDS, wrongUrl } from './load.ts';
import { duration, SECOND_MS } from './quantities.ts';
import { template } from './rule.ts';
import { show } from './show.ts';

const MAX_SQL_CHARS = 10_000;
const MAX_URL_CHARS = 2_000;
const TIMEOUT_MS = 2 * SECOND_MS;

/** What a parameter may stand for beside the key and its parts; it must be all of the parameter. */
const OF_THE_REQUEST = ['{body}', '{bytes}', '{contentType}', '{tags}'] as const;
const HEADER_PARAM = /^\{header\.([!#$%&'*+.^_`|~0-9a-z-]{1,100})\}$/;

const params = z.array(template).max(32).optional();
const sql = z.string().min(1).max(MAX_SQL_CHARS).optional();

const http = z.strictObject({
  url: z
    .string()
    .max(MAX_URL_CHARS)
    .describe('http:// or https://, with {key} or parts of it in its path or query; each is percent-encoded.'),
  method: z.enum(['PUT', 'POST', 'PATCH', 'DELETE']).optional().describe('Default: PUT, or DELETE for delete.'),
  headers: z
    .record(
      z.string().regex(FIELD_NAME),
      z.string().regex(FIELD_VALUE, 'expected printable ASCII characters').describe('Its value.'),
    )
    .default({})
    .describe('Header fields to send. The document is no place for secrets.'),
});

const step = (what: string, shown: string) =>
  z.strictObject({
    sql: sql.describe(
      `One statement that ${what}. It runs in a transaction of the sidecar: it must not begin or end one.`,
    ),
    params: params.describe(
      `What $1, $2, ... stand for: {key} or parts of it${shown}. Default: {key}${shown === '' ? '' : ' and {body}'}.`,
    ),
    http: http.optional().describe("The application's own endpoint, instead of sql."),
  });

/** Writes that are in the database when they are answered. */
export const writeThrough = z
  .strictObject({
    key: z
      .string()
      .max(1000)
      .optional()
      .meta({ pattern: TEMPLATE.source })
      .describe(
        'Shape of the keys that can be written, such as user:{id}, whose parts can be named. Default: every key.',
      ),
    put: step(
      'stores the value of a key, such as INSERT ... ON CONFLICT DO UPDATE; a column "created" tells whether it is new',
      ', {body} (text or JSON), {bytes} (bytea), {contentType}, {tags} (text[]), {header.NAME} (a header field of the request, NAME in lower case)',
    )
      .optional()
      .describe('What PUT /v1/write does. Without it PUT is refused.'),
    delete: step('removes a key', ', {header.NAME} (a header field of the request, NAME in lower case)')
      .optional()
      .describe('What DELETE /v1/write does. Without it DELETE is refused.'),
    cache: z
      .enum(['written', 'loaded', 'answer', 'nothing'])
      .optional()
      .describe(
        'What is under the key afterwards. written: the value as the caller sent it. loaded: what load.sql or read finds in the same transaction. answer: the body of the http endpoint. nothing: it is loaded when it is read. Default: loaded where there is such SQL, nothing where load is of another kind, else written.',
      ),
    read: z
      .strictObject({
        sql: z.string().min(1).max(MAX_SQL_CHARS).describe('One SELECT, whose row is the value, as with load.'),
        params: params.describe('What $1, $2, ... stand for, with {key} or parts of it. Default: {key}.'),
      })
      .optional()
      .describe('Reads what is cached, after the write and in its transaction. Default: load.sql.'),
    timeout: duration('10ms to 30s', { min: 10, max: 30 * SECOND_MS })
      .optional()
      .describe('For a write as a whole, waiting for a connection included. Default: 2s.'),
  })
  .transform((value, context): WriteThroughConfig => {
    const complain = (path: Path, message: string): void =>
      context.addIssue({ code: 'custom', path: [...path], message });
    const { key = ANY_KEY.text, put, delete: remove, cache, read, timeout = TIMEOUT_MS } = value;
    const names = namesOf(key, (message) => complain(['key'], message));
    if (put === undefined && remove === undefined)
      complain([], 'found neither put nor delete, expected at least one of them');
    const check: Check = { names, complain };
    const config = {
      key,
      put: put && completed(put, { ...check, path: ['put'], isPut: true }),
      delete: remove && completed(remove, { ...check, path: ['delete'], isPut: false }),
      cache: cache ?? (read && ('loaded' as const)),
      read: read && completedSql(read, { ...check, path: ['read'], isPut: false }),
      timeout,
    };
    const isHttp = config.put?.kind === 'http' || config.delete?.kind === 'http';
    if (isHttp && config.cache === 'loaded')
      complain(
        ['cache'],
        'found loaded, expected answer, written or nothing with http: its transaction cannot be read in',
      );
    if (cache === 'answer' && config.put?.kind !== 'http')
      complain(['cache'], 'found answer, expected it with put.http only: a statement answers no value');
    if (read !== undefined && config.cache !== 'loaded')
      complain(['read'], `found read with cache: ${cache}, expected cache: loaded, which it is for`);
    return config;
  });

type Path = readonly (string | number)[];

export interface WriteThroughSql {
  readonly kind: 'sql';
  /** One statement without a semicolon at its end. */
  readonly sql: string;
  readonly params: readonly string[];
}

export interface WriteThroughHttp {
  readonly kind: 'http';
  readonly url: string;
  readonly method: 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
}

export type WriteThroughStep = WriteThroughSql | WriteThroughHttp;

export interface WriteThroughConfig {
  /** Pattern of its keys, `{key}` where all are. */
  readonly key: string;
  readonly put: WriteThroughStep | undefined;
  readonly delete: WriteThroughStep | undefined;
  /** Undefined where it depends on how the namespace loads. */
  readonly cache: 'written' | 'loaded' | 'answer' | 'nothing' | undefined;
  readonly read: WriteThroughSql | undefined;
  /** Milliseconds. */
  readonly timeout: number;
}

/** The name of the header field that a parameter stands for. */
export function headerOfParam(param: string): string | undefined {
  return HEADER_PARAM.exec(param)?.[1];
}

interface Check {
  /** Of the parts of the key. */
  readonly names: readonly string[];
  readonly complain: (path: Path, message: string) => void;
}

interface StepCheck extends Check {
  readonly path: Path;
  readonly isPut: boolean;
}

function namesOf(key: string, complain: (message: string) => void): readonly string[] {
  try {
    return [WHOLE_KEY, ...parseKeyPattern(key).names];
  } catch (error) {
    complain(`found ${show(key)}, expected a shape of keys such as user:{id}: ${(error as Error).message}`);
    return [WHOLE_KEY];
  }
}

function completed(
  { sql: text, params: given, http: endpoint }: z.output<ReturnType<typeof step>>,
  check: StepCheck,
): WriteThroughStep | undefined {
  const { complain, path, isPut } = check;
  if ((text === undefined) === (endpoint === undefined)) {
    complain(path, `found ${text === undefined ? 'neither sql nor http' : 'both sql and http'}, expected one of them`);
    return undefined;
  }
  if (text !== undefined) return completedSql({ sql: text, params: given }, check);
  if (given !== undefined)
    complain([...path, 'params'], 'found params, expected none with http: put {key} into its url');
  const { url, method = isPut ? 'PUT' : 'DELETE', headers } = endpoint as z.output<typeof http>;
  const wrong = wrongUrl(url);
  if (wrong === undefined) checkNames(url, { ...check, path: [...path, 'http', 'url'] });
  else complain([...path, 'http', 'url'], `found ${show(url)}, ${wrong}`);
  for (const name of Object.keys(headers).filter((field) => OUR_FIELDS.test(field)))
    complain([...path, 'http', 'headers', name], `found ${show(name)}, expected none that the sidecar sets itself`);
  return { kind: 'http', url, method, headers };
}

function completedSql(
  { sql: text, params: found }: { sql: string; params?: readonly string[] | undefined },
  check: StepCheck,
): WriteThroughSql {
  const { complain, path, isPut } = check;
  const named = new Set([...text.matchAll(/\$(\d+)/g)].map(([, digits]) => Number(digits)));
  const highest = Math.max(0, ...named);
  const given = found ?? ['{key}', ...(isPut ? ['{body}'] : [])].slice(0, highest);
  if (highest !== given.length || named.size !== highest) {
    const expected = highest === 0 ? 'none' : `one for each of $1 to $${highest}, each used`;
    complain([...path, 'params'], `found ${given.length}, expected ${expected}: Postgres would refuse ${show(text)}`);
  }
  const isRead = path[0] === 'read';
  for (const [i, param] of given.entries()) {
    if (isPut && OF_THE_REQUEST.some((one) => one === param)) continue;
    if (!isRead && headerOfParam(param) !== undefined) continue;
    checkNames(param, { ...check, path: [...path, 'params', i] });
  }
  return { kind: 'sql', sql: text.replace(/[;\s]+$/, ''), params: given };
}

function checkNames(text: string, { names, complain, path, isPut }: StepCheck): void {
  for (const name of parseTemplate(text).columns) {
    if (names.includes(name)) continue;
    const known = [...names.map((one) => `{${one}}`), ...(isPut && path.includes('params') ? OF_THE_REQUEST : [])];
    complain(path, `found {${name}} in ${show(text)}, expected ${known.join(' or ')}`);
  }
}
