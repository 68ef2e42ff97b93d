const maxLines = 2000;
const maxLineChars = 4000;

/** The newest lines of a process (at most 2,000), kept for the output of a failure and for waiting on one. */
export class LogRing {
  readonly #lines: string[] = [];
  readonly #listeners = new Set<(line: string) => void>();

  add(line: string): void {
    const kept = line.slice(0, maxLineChars);
    this.#lines.push(kept);
    if (this.#lines.length > maxLines) this.#lines.shift();
    for (const listener of this.#listeners) listener(kept);
  }

  /** Calls back for each new line until the answer is called. */
  subscribe(listener: (line: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The newest lines, oldest first. */
  tail(count = maxLines): string[] {
    return this.#lines.slice(-count);
  }
}

/** Splits a stream of text into lines; a last line without an end is given at the end of the stream. */
export function eachLine(stream: NodeJS.ReadableStream, take: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(line);
  });
  stream.on('end', () => {
    if (rest !== '') take(rest);
  });
}
