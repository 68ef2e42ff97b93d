import { parseArgs, type ParseArgsConfig } from 'node:util';
import { KitError } from './error.ts';

/** `parseArgs`, with a KitError that says in which command something is wrong: "demo" for `npm run demo`. */
export function readArguments<const Config extends ParseArgsConfig>(
  command: string,
  config: Config,
): ReturnType<typeof parseArgs<Config>> {
  try {
    return parseArgs(config);
  } catch (error) {
    throw new KitError(`${(error as Error).message} (npm run ${command} -- --help lists what there is)`);
  }
}

/** The value of an option that is a number above 0. Throws a KitError. */
export function positive(name: string, text: string, max: number): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value > 0 && value <= max) return value;
  throw new KitError(`${name} is "${text}", but must be a number above 0 and at most ${max}.`);
}
