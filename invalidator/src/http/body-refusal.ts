import type { ProblemOptions } from '@tidemark/runtime';

/**
 * What to answer where Express could not read a body; undefined for a failure of our own. It says what kind of mistake it was,
 * never what was found: a body may hold secrets.
 *
 * @param most the limit, as a person reads it
 */
export function bodyRefusal(error: unknown, most: string): ProblemOptions | undefined {
  const { status = 500, type = '' } = error as { status?: number; type?: string };
  // Its caller has gone away or sends another one; nobody of ours failed (raw-body, "stream.not.readable").
  if (status >= 500 && type !== 'stream.not.readable') return undefined;
  switch (status) {
    case 413:
      return { code: 'too-large', detail: `expected at most ${most}` };
    case 415:
      return { code: 'unsupported-media-type', detail: `expected JSON in UTF-8, compressed or not (${type})` };
    default:
      return { code: 'bad-request', detail: `the body cannot be read: expected a JSON document (${type})` };
  }
}
