/** Settles with the first line that `read` makes something of. Feed it each line of a process. */
export interface LineWatch<T> {
  readonly take: (line: string) => void;
  readonly found: Promise<T>;
}

export function watchLines<T>(read: (line: string) => T | undefined): LineWatch<T> {
  const { promise, resolve } = Promise.withResolvers<T>();
  return {
    found: promise,
    take: (line) => {
      const value = read(line);
      if (value !== undefined) resolve(value);
    },
  };
}
