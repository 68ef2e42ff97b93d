import { headerOfParam, parseTemplate } from '@tidemark/proto';
import { fill } from './origin.ts';
import type { PutRequest, WriteRequest } from './writer.ts';

/** A write, of a put together with what it is given beyond a delete. */
export type ParamSource = Pick<WriteRequest, 'headers'> & {
  readonly put?: Pick<PutRequest, 'body' | 'contentType' | 'tags'>;
};

/** What a parameter stands for; undefined for a body that is no text. */
export type Param = (request: ParamSource, parts: ReadonlyMap<string, string>) => string | null | undefined;

/** @param hexOf two digits a byte */
export function paramOf(param: string, hexOf: (bytes: Uint8Array) => string): Param {
  const header = headerOfParam(param);
  if (header !== undefined) return ({ headers }) => headers[header] ?? null;
  switch (param) {
    case '{body}':
      return ({ put }) => put && textOf(put.body);
    case '{bytes}':
      return ({ put }) => `\\x${put === undefined ? '' : hexOf(put.body)}`;
    case '{contentType}':
      return ({ put }) => put?.contentType ?? null;
    case '{tags}':
      return ({ put }) => `{${(put?.tags ?? []).map((tag) => `"${tag.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`;
    default: {
      const template = parseTemplate(param);
      return (_, parts) => fill(template, parts);
    }
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(body: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(body);
  } catch {
    return undefined;
  }
}
