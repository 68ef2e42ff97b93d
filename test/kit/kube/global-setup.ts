import { toStderr } from '../error.ts';
import { kubeBinary } from './binaries.ts';

/** Builds what a test cluster is made of before the first test's time begins to run. */
export default async function setup(): Promise<void> {
  await kubeBinary('helm', toStderr);
}
