/** A failure that a person can act on: its message is one sentence that says what is missing or wrong and what to do. */
export class KitError extends Error {
  override readonly name = 'KitError';
}

/** Where the kit says what it is doing while something takes long. */
export type Progress = (text: string) => void;

export const silent: Progress = () => undefined;

/** The progress lines of the commands: on stderr, so that stdout stays for what was asked. */
export const toStderr: Progress = (text) => {
  process.stderr.write(`tidemark: ${text}\n`);
};
