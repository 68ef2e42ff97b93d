/** Where a server listens: a TCP port (0 lets the system choose) or a Unix domain socket. */
export type ListenAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** Reads `127.0.0.1:7070`, `[::1]:0`, `localhost:80` or `:7070` (every interface). Throws an Error that says what was expected. */
export function parseListenAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:\s]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535)
    throw new Error('expected HOST:PORT with a port from 0 to 65535 (0: any free one), such as 127.0.0.1:7070');
  return { host: match[1] ?? (match[2] === '' ? '0.0.0.0' : (match[2] as string)), port };
}

/** The way an address stands in logs and URLs: `127.0.0.1:7070`, `[::1]:7070`, or a socket's path. */
export function formatAddress(address: ListenAddress): string {
  if ('path' in address) return address.path;
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}
