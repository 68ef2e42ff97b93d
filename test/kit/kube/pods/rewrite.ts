/** How names and paths of a pod are called on this machine. */
export interface Translation {
  /** The pod's own address in the cluster. */
  readonly ip: string;
  /** The local address that stands for it. */
  readonly host: string;
  /** Local paths by mountPath. */
  readonly paths: ReadonlyMap<string, string>;
  /** Servers outside of the cluster, both as `host:port`. */
  readonly outside: ReadonlyMap<string, string>;
  /** Local addresses of Services, by `name.namespace`. */
  readonly services: ReadonlyMap<string, string>;
}

const serviceName = String.raw`(?<![\w.-])[a-z0-9-]+\.[a-z0-9-]+\.svc(?:\.cluster\.local)?(?=:\d)`;
const own = String.raw`0\.0\.0\.0|127\.0\.0\.1|localhost|\[::\]`;

/** The Services whose ports a text names, as `name.namespace`. */
export function servicesIn(text: string): string[] {
  const found = text.matchAll(new RegExp(serviceName, 'g'));
  return [...found].map(([name]) => plain(name));
}

/**
 * A text of a pod's spec (a value of its environment, an argument) as it must be on this machine. In one pass, so that
 * nothing is translated twice:
 *
 * - a mountPath, and what is below it, becomes the local folder of its volume;
 * - `host:port` of a server outside of the cluster becomes its real address;
 * - `NAME.NAMESPACE.svc:PORT`, with or without `.cluster.local`, becomes the local address of that Service, on the same
 *   port (a name without a port is no address: it may stand in a certificate);
 * - 0.0.0.0, [::], 127.0.0.1, localhost and the pod's own IP become the pod's local address: to listen on all addresses
 *   and to call a neighbour in the pod come to the same here.
 *
 * Everything else stays: files that are mounted, and what a process finds out by itself.
 */
export function translate(text: string, by: Translation): string {
  const escaped = (words: Iterable<string>): string =>
    [...words]
      .toSorted((a, b) => b.length - a.length)
      .map((word) => escape(word))
      .join('|') || '(?!)';
  const pattern = new RegExp(
    [
      String.raw`(?<path>(?<![\w./-])(?:${escaped(by.paths.keys())})(?![\w.-]))`,
      String.raw`(?<outside>(?<![\w.-])(?:${escaped(by.outside.keys())})(?!\d))`,
      `(?<service>${serviceName})`,
      String.raw`(?<own>(?<![\w.-])(?:${own}|${escape(by.ip)})(?![\w-]|\.\d))`,
    ].join('|'),
    'g',
  );
  return text.replaceAll(pattern, (match, ...rest) => {
    const groups = rest.at(-1) as Record<string, string | undefined>;
    if (groups['path'] !== undefined) return by.paths.get(match) ?? match;
    if (groups['outside'] !== undefined) return by.outside.get(match) ?? match;
    if (groups['service'] !== undefined) return by.services.get(plain(match)) ?? match;
    return by.host;
  });
}

function plain(name: string): string {
  return name.replace(/\.svc(\.cluster\.local)?$/, '');
}

function escape(word: string): string {
  return word.replaceAll(/[^\w/:-]/g, String.raw`\$&`);
}
