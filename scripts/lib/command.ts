import { KitError, toStderr } from '../../test/kit/index.ts';

/** Runs a command, or a part of it; a mistake that a person can mend ends it with a sentence on stderr and exit code 1. */
export async function runCommand<Result>(main: () => Promise<Result> | Result): Promise<Result> {
  try {
    return await main();
  } catch (error) {
    if (!(error instanceof KitError)) throw error;
    toStderr(error.message);
    process.exit(1);
  }
}
