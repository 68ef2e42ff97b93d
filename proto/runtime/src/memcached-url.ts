/** Where memcached is, as TIDEMARK_MEMCACHED_URL says it. */
export interface MemcachedTarget {
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  /** For servers that were started with `-Y`. */
  readonly username?: string;
  readonly password?: string;
  /** Put before every key, so that deployments can share servers; '' for none. */
  readonly prefix: string;
}

const EXPECTED = 'expected memcached://[user:password@]host[:port][,host[:port]…][/prefix]';
const DEFAULT_PORT = 11_211;
const MAX_NODES = 128;
/** Keys are at most 250 bytes; what stands behind the prefix needs less than 120. */
const PREFIX = /^[A-Za-z0-9._-]{1,64}$/;

/** Reads the address of one or several memcached servers. Throws an Error that says what was expected; it never repeats the password. */
export function parseMemcachedUrl(url: string): MemcachedTarget {
  const match = /^memcached:\/\/(?:([^@/]*)@)?([^/@]+)(?:\/([^?#]*))?$/.exec(url);
  if (match === null) throw new Error(EXPECTED);
  const nodes = (match[2] as string).split(',').map(parseNode);
  const names = new Set(nodes.map(({ host, port }) => `${host}:${port}`));
  if (names.size < nodes.length) throw new Error(`${EXPECTED}, and found a server twice`);
  if (nodes.length > MAX_NODES) throw new Error(`${EXPECTED} with at most ${MAX_NODES} servers`);
  const prefix = match[3] ?? '';
  if (prefix !== '' && !PREFIX.test(prefix)) {
    throw new Error(`${EXPECTED} with a prefix of 1 to 64 letters, digits, '.', '_' and '-'`);
  }
  return { nodes, ...credentials(match[1]), prefix };
}

function parseNode(text: string): { host: string; port: number } {
  const node = /^(?:\[([^\]]+)\]|([^:\s[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const port = Number(node?.[3] ?? DEFAULT_PORT);
  if (node === null || port < 1 || port > 65_535) throw new Error(EXPECTED);
  return { host: (node[1] ?? node[2]) as string, port };
}

function credentials(text: string | undefined): { username?: string; password?: string } {
  if (text === undefined || text === '') return {};
  const [username, password, ...rest] = text.split(':').map(decodeURIComponent);
  if (!username || !password || rest.length > 0 || /[\s\0]/.test(username + password)) {
    throw new Error(`${EXPECTED}: memcached wants a user and a password without spaces, or neither`);
  }
  return { username, password };
}

/** Parser of a setting: the URL as it is, if it is one. Throws like {@link parseMemcachedUrl}. */
export function memcachedUrl(found: string): string {
  parseMemcachedUrl(found);
  return found;
}
