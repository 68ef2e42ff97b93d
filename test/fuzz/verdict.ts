import type { Answer } from './answers.ts';

const DOCUMENTED = new Set([
  ...[200, 201, 202, 204, 304, 400, 404, 405, 408, 409, 410, 411, 413, 415, 417, 422, 428, 431],
  // A purge or a position that could not be had, what is not ready, and what was not loaded or written in time.
  ...[503, 504],
]);
/** A stack, a place in a source file, or a path of this machine. */
const INSIDE = /\n\s+at |node_modules|node:internal|\.[cm]?[jt]s:\d+|\/(?:home|root|tmp|usr|var|app|src)\//;

/** What is wrong with an answer, whatever was asked; undefined where nothing is. */
export function complaint(answer: Answer): string | undefined {
  const { status, headers, body } = answer;
  if (!DOCUMENTED.has(status)) return `the status ${status} is not documented`;
  const cacheStatus = headers['cache-status'];
  if (cacheStatus !== undefined && !isCacheStatus(cacheStatus)) return `Cache-Status: ${cacheStatus}`;
  if (status < 400) return undefined;
  if (isMiss(answer)) return undefined;
  if (status === 503 && headers['content-type']?.startsWith('text/plain') === true) return undefined;
  if (headers['content-type'] !== 'application/problem+json') return `${status} with ${headers['content-type']}`;
  if (answer.method === 'HEAD') return undefined;
  return problemComplaint(status, body.toString());
}

/** Parameters of `Cache-Status` that we send, by the types of RFC 9211 section 2; no value stands for true (RFC 9651). */
const PARAMETERS: Readonly<Record<string, RegExp>> = {
  hit: /^$/,
  fwd: /^=(?:bypass|request|miss|stale)$/,
  'fwd-status': /^=[1-5]\d\d$/,
  ttl: /^=-?\d{1,15}$/,
  stored: /^$/,
  collapsed: /^$/,
  detail: /^=[a-z*][a-z0-9-]*$/,
};

/** One member with our name and known parameters, each once; `hit` and `fwd` exclude each other, and the last two go with `fwd`. */
function isCacheStatus(field: string): boolean {
  const [name, ...parameters] = field.split('; ');
  const names = parameters.map((parameter) => parameter.split('=', 1)[0] ?? '');
  const isKnown = parameters.every(
    (text, i) => PARAMETERS[names[i] ?? '']?.test(text.slice(names[i]?.length)) === true,
  );
  const has = (each: string): boolean => names.includes(each);
  const isOnce = new Set(names).size === names.length;
  const needsForward = ['stored', 'collapsed', 'fwd-status'].some(has);
  return name === 'tidemark' && isKnown && isOnce && !(has('hit') && has('fwd')) && (!needsForward || has('fwd'));
}

/** 404 without a document: nothing is cached, or it is known that there is nothing. */
function isMiss({ status, headers }: Answer): boolean {
  return status === 404 && headers['cache-status'] !== undefined && headers['content-length'] === '0';
}

function problemComplaint(status: number, text: string): string | undefined {
  const document = JSON.parse(text) as Readonly<Record<string, unknown>>;
  const { type, title, detail } = document;
  if (typeof type !== 'string' || !/^urn:tidemark:problem:[a-z-]+$/.test(type)) return `type ${String(type)}`;
  if (typeof title !== 'string' || title === '' || document['status'] !== status) return `no title or status: ${text}`;
  if (typeof detail !== 'string' || detail.length < 10) return `no detail: ${text}`;
  if (text.length > 3_000) return `a problem of ${text.length} characters`;
  return INSIDE.test(detail) ? `the inside is told: ${text.slice(0, 500)}` : undefined;
}
