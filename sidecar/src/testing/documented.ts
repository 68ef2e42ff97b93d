import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { openapi } from '../http/openapi.ts';

/** What was asked and answered, as far as the document tells of it. */
export interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Uint8Array;
}

interface Operation {
  readonly responses: Readonly<Record<string, Response>>;
}
interface Response {
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly content?: Readonly<Record<string, { readonly schema: object }>>;
}

/** What any answer may have, and any request may be answered; see `info.description`. */
const PLAIN = new Set(['date', 'connection', 'keep-alive', 'content-length', 'content-type', 'transfer-encoding']);
const EVERYWHERE = new Set([400, 404, 405, 408, 417, 431, 500]);
const PROBLEM = 'application/problem+json';

const paths = Object.entries(openapi.paths as unknown as Record<string, Record<string, Operation>>).map(
  ([path, operations]) => ({
    path,
    operations,
    matches: new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
  }),
);
const ajv = new Ajv2020({ strict: false, validateFormats: false });
const validators = new Map<object, ValidateFunction>();
const components = { components: closed(openapi.components) };

/** What is answered and not documented, or otherwise than it is documented; undefined where there is nothing of the kind. */
export function undocumented({ method, path, status, headers, body }: Exchange): string | undefined {
  const found = paths.find(({ matches }) => matches.test(path.replace(/^https?:\/\/[^/]*|\?.*$/g, '')));
  const isProblem = headers['content-type'] === PROBLEM;
  const { [method.toLowerCase()]: asked, get } = found?.operations ?? {};
  const operation = asked ?? (method === 'HEAD' ? get : undefined);
  const response = operation?.responses[status];
  if (response === undefined)
    return EVERYWHERE.has(status) && isProblem ? undefined : `${method} ${path} is answered ${status}`;
  const known = new Set(Object.keys(response.headers ?? {}).map((name) => name.toLowerCase()));
  const isNoted = (name: string): boolean =>
    PLAIN.has(name) || known.has(name) || (name === 'cache-control' && headers[name] === 'no-store');
  const unknown = Object.keys(headers).filter((name) => !isNoted(name));
  if (unknown.length > 0 && !(isProblem && EVERYWHERE.has(status)))
    return `${method} ${path} is answered ${status} with ${unknown.join(', ')}`;
  if (method === 'HEAD' || body.length === 0) return undefined;
  const { content = {} } = response;
  const media = content[String(headers['content-type']).replace(/;.*/, '')] ?? content['*/*'];
  if (media === undefined) return `${method} ${path} is answered ${status} with ${String(headers['content-type'])}`;
  if (!String(headers['content-type']).endsWith('json') || media === content['*/*']) return undefined;
  let validate = validators.get(media.schema);
  if (validate === undefined)
    validators.set(media.schema, (validate = ajv.compile({ ...components, ...closed(media.schema) })));
  if (validate(JSON.parse(Buffer.from(body).toString()))) return undefined;
  return `${method} ${path} is answered ${status}: ${ajv.errorsText(validate.errors)}`;
}

/** The same schemas, with no member that they do not name; but problems may say more than all of them do (RFC 9457 section 3.2). */
function closed<T>(schema: T): T {
  if (Array.isArray(schema)) return schema.map((each: unknown) => closed(each)) as T;
  if (typeof schema !== 'object' || schema === null) return schema;
  const members = Object.entries(schema).map(([name, of]) => [
    name,
    name === 'Problem' ? (of as object) : closed(of as object),
  ]);
  const isOpen = !('properties' in schema) || 'additionalProperties' in schema;
  return { ...Object.fromEntries(members), ...(!isOpen && { additionalProperties: false }) } as T;
}
