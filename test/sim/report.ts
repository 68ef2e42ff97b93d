import { play, type Script } from './history.ts';
import { shrink } from './shrink.ts';

/** What a person needs of a history that fails: its seed, the fewest steps that still do it, and what went wrong. */
export async function report(script: Script): Promise<string> {
  const shortest = await shrink(script);
  const { violation, log } = await play(shortest);
  const { seed, steps, flavor } = shortest;
  return [
    `seed ${seed}: ${violation}`,
    ...log.map((line) => `  ${line}`),
    `for regressions.json: ${JSON.stringify({ seed, steps, flavor, found: '…' })}`,
  ].join('\n');
}
