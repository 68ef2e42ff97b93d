import type { Lsn, Template } from '@tidemark/proto';
import type { Loaded } from './ports.ts';

/** What is to be loaded. */
export interface OriginRequest {
  /** Where the value will be: the key, unless values differ by request headers. */
  readonly address: string;
  /** Parts of the key by name, `key` (all of it) included, and `header.NAME` of the request headers by which values differ. */
  readonly values: ReadonlyMap<string, string>;
  /** The newest known change of the key: what is read at an older position would not be stored. */
  readonly atLeast: Lsn | undefined;
  /** Nothing of it is stored. */
  readonly isPassed?: boolean;
}

/** Where the values of one shape of keys are kept. Bounded in time; never rejects. */
export interface Origin {
  load(request: OriginRequest): Promise<Loaded>;
}

/** A template with its names filled in; what is not there is empty. */
export function fill(
  { literals, columns }: Template,
  values: ReadonlyMap<string, string>,
  encode: (value: string) => string = (value) => value,
): string {
  return columns.reduce(
    (text, name, i) => text + encode(values.get(name) ?? '') + (literals[i + 1] as string),
    literals[0] as string,
  );
}
