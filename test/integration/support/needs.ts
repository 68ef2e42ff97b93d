import { parse, stringify } from 'yaml';
import { startMemcached, type StackOptions } from '../../kit/index.ts';

/** What a page needs beside a plain stack. */
export interface Supply {
  /** Of the stack; the environments of several needs are joined. */
  readonly env?: StackOptions['env'];
  /** Puts what only this run knows, such as a port, into the page's configuration. */
  readonly config?: (yaml: string) => string;
  /** Environment of the session. */
  readonly session?: Readonly<Record<string, string>>;
  /** False for sidecars without Redis. */
  readonly redis?: boolean;
  readonly stop?: () => Promise<void>;
}

/** By the words that a page may say in `<!-- needs: … -->`. Each is asked before the page's stack starts. */
export const NEEDS: Readonly<Record<string, () => Supply | Promise<Supply>>> = {
  /** Sidecars that share memcached instead of Redis. */
  memcached: async () => {
    const server = await startMemcached();
    return {
      redis: false,
      env: { sidecar: { TIDEMARK_MEMCACHED_URL: server.url } },
      stop: () => server.stop(),
    };
  },
  /** Loaders that read the stack's own database. */
  load: () => ({ env: { sidecar: ({ postgres }) => ({ TIDEMARK_LOAD_URL: postgres }) } }),
};

/** What a page shows does not depend on how fast the machine is that runs it. */
const PATIENT: Supply = {
  env: {
    sidecar: {
      TIDEMARK_REDIS_DEADLINE: '10s',
      TIDEMARK_MEMCACHED_DEADLINE: '10s',
      TIDEMARK_MAX_STALENESS: '1m',
      TIDEMARK_SESSION_TIMEOUT: '1m',
      TIDEMARK_COALESCE_TIMEOUT: '1m',
    },
  },
  config: (yaml) => {
    const document = parse(yaml) as { readonly namespaces: Readonly<Record<string, Performing>> };
    for (const { load, writeThrough } of Object.values(document.namespaces))
      for (const each of [writeThrough, ...(load?.byKey ?? [load])]) if (each !== undefined) each.timeout = '10s';
    return stringify(document);
  },
};

/** What a namespace has others do, within a time. */
interface Performing {
  readonly load?: Timed & { readonly byKey?: readonly Timed[] };
  readonly writeThrough?: Timed;
}
interface Timed {
  timeout?: string;
}

/** Several needs at once. */
export async function supplied(names: readonly string[]): Promise<Required<Supply>> {
  const supplies: Supply[] = [PATIENT];
  for (const name of names) {
    const need = NEEDS[name];
    if (need === undefined)
      throw new Error(`no page can need "${name}"; support/needs.ts knows ${Object.keys(NEEDS).join(', ')}`);
    supplies.push(await need());
  }
  const roles = new Set(supplies.flatMap(({ env }) => Object.keys(env ?? {}) as (keyof NonNullable<Supply['env']>)[]));
  return {
    env: Object.fromEntries(
      [...roles].map((role) => [
        role,
        (place) =>
          Object.assign(
            {},
            ...supplies.map(({ env }) => {
              const given = env?.[role];
              return typeof given === 'function' ? given(place) : given;
            }),
          ) as Record<string, string>,
      ]),
    ) as NonNullable<Supply['env']>,
    redis: supplies.every(({ redis }) => redis !== false),
    config: (yaml) => supplies.reduce((text, { config }) => config?.(text) ?? text, yaml),
    session: Object.assign({}, ...supplies.map(({ session }) => session)) as Record<string, string>,
    stop: async () => {
      for (const { stop } of supplies.toReversed()) await stop?.();
    },
  };
}
