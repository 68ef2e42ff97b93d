import { play, type Script } from './history.ts';
import type { Sabotage } from './parts/sabotage.ts';

/** Most histories that are played to make one shorter. */
const MOST = 1_500;

/** Leaves out steps as long as something still goes wrong: first many at once, then fewer (delta debugging). */
export async function shrink(script: Script, sabotage: Sabotage = {}): Promise<Script> {
  let played = 0;
  const failsAt = async (steps: readonly number[]): Promise<number | undefined> => {
    played += 1;
    const { violation, at } = await play({ ...script, steps }, sabotage);
    return violation !== undefined && kindOf(violation) === kind ? at : undefined;
  };
  let { steps } = script;
  const { violation: first, at } = await play(script, sabotage);
  if (first === undefined) return script;
  const kind = kindOf(first);
  steps = steps.filter((step) => step <= at);
  for (
    let size = Math.ceil(steps.length / 2);
    size >= 1 && played < MOST;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let from = 0; from < steps.length && played < MOST;) {
      const fewer = [...steps.slice(0, from), ...steps.slice(from + size)];
      if ((await failsAt(fewer)) === undefined) from += size;
      else steps = fewer;
    }
  }
  return { ...script, steps };
}

/** Another fault that shows on the way would be another story. */
function kindOf(violation: string): string {
  return violation.replaceAll(/\d+/g, '').slice(0, 30);
}
