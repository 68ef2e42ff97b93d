/** Where Redis is and how it is spoken to, as TIDEMARK_REDIS_URL says it. */
export interface RedisTarget {
  readonly kind: 'standalone' | 'sentinel' | 'cluster';
  /** The server, the sentinels, or some nodes of the cluster. */
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  /** Name of the master that the sentinels watch. */
  readonly master?: string;
  readonly username?: string;
  readonly password?: string;
  /** Database number; always 0 in a cluster. */
  readonly db: number;
  readonly tls: boolean;
}

const SCHEMES: Readonly<Record<string, { kind: RedisTarget['kind']; tls: boolean; port: number }>> = {
  redis: { kind: 'standalone', tls: false, port: 6379 },
  rediss: { kind: 'standalone', tls: true, port: 6379 },
  'redis+sentinel': { kind: 'sentinel', tls: false, port: 26_379 },
  'rediss+sentinel': { kind: 'sentinel', tls: true, port: 26_379 },
  'redis+cluster': { kind: 'cluster', tls: false, port: 6379 },
  'rediss+cluster': { kind: 'cluster', tls: true, port: 6379 },
};

const EXPECTED =
  'expected redis[s]://[user:password@]host:port[/db], redis[s]+sentinel://[user:password@]host:port,host:port/master[/db] or redis[s]+cluster://[user:password@]host:port,host:port';

/** Reads a Redis address. Throws an Error that says what was expected; it never repeats the password. */
export function parseRedisUrl(url: string): RedisTarget {
  const match = /^([a-z+]+):\/\/(?:([^@/]*)@)?([^/@]+)(?:\/([^?#]*))?$/.exec(url);
  const scheme = SCHEMES[match?.[1] ?? ''];
  if (match === null || scheme === undefined) throw new Error(EXPECTED);
  const nodes = (match[3] as string).split(',').map((part) => {
    const node = /^(\[[^\]]+\]|[^:\s]+)(?::(\d{1,5}))?$/.exec(part);
    if (node === null) throw new Error(EXPECTED);
    return { host: (node[1] as string).replace(/^\[|\]$/g, ''), port: Number(node[2] ?? scheme.port) };
  });
  const path = (match[4] ?? '')
    .split('/')
    .filter((part) => part !== '')
    .map(decodeURIComponent);
  const master = scheme.kind === 'sentinel' ? path.shift() : undefined;
  const db = Number(path.shift() ?? '0');
  const wrong =
    (scheme.kind === 'sentinel' && master === undefined) ||
    (scheme.kind === 'standalone' && nodes.length !== 1) ||
    (scheme.kind === 'cluster' && db !== 0) ||
    path.length > 0 ||
    !Number.isInteger(db);
  if (wrong) throw new Error(EXPECTED);
  return {
    kind: scheme.kind,
    nodes,
    ...(master === undefined ? {} : { master }),
    ...credentials(match[2]),
    db,
    tls: scheme.tls,
  };
}

/** `user:password`, `:password`, or (as redis-cli reads it) just `user`. */
function credentials(text: string | undefined): { username?: string; password?: string } {
  if (text === undefined || text === '') return {};
  const colon = text.indexOf(':');
  const username = decodeURIComponent(colon < 0 ? text : text.slice(0, colon));
  const password = colon < 0 ? '' : decodeURIComponent(text.slice(colon + 1));
  return { ...(username === '' ? {} : { username }), ...(password === '' ? {} : { password }) };
}

/** Parser of a setting: the URL as it is, if it is one. Throws like {@link parseRedisUrl}. */
export function redisUrl(found: string): string {
  parseRedisUrl(found);
  return found;
}
