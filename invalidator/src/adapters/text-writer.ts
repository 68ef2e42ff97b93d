import type { Writable } from 'node:stream';

/** Nobody reads the output any more, as when `head` has seen enough. */
export class OutputClosedError extends Error {
  override name = 'OutputClosedError';
}

/** Writes text with back-pressure: what is not flushed yet waits in memory. */
export interface TextWriter {
  /** Characters that wait. */
  readonly pending: number;
  write(text: string): void;
  /** Resolves once the system has taken it all. Rejects with {@link OutputClosedError}, or as the stream failed. */
  flush(): Promise<void>;
}

/** Takes over the errors of the stream. */
export function textWriter(stream: Writable): TextWriter {
  let parts: string[] = [];
  let pending = 0;
  let failed: Error | undefined;
  stream.on('error', (error: NodeJS.ErrnoException) => {
    failed ??= error.code === 'EPIPE' ? new OutputClosedError('nobody reads the output any more') : error;
  });
  return {
    get pending() {
      return pending;
    },
    write(text) {
      parts.push(text);
      pending += text.length;
    },
    async flush() {
      if (failed !== undefined) throw failed;
      if (pending === 0) return;
      const text = parts.join('');
      parts = [];
      pending = 0;
      await new Promise<void>((resolve, reject) => {
        stream.write(text, (error) => {
          if (error === null || error === undefined) resolve();
          else
            reject(
              (error as NodeJS.ErrnoException).code === 'EPIPE'
                ? new OutputClosedError('nobody reads the output any more')
                : error,
            );
        });
      });
    },
  };
}
