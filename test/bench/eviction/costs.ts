import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface HitCost {
  readonly subject: string;
  readonly leastNs: number;
  readonly medianNs: number;
}

const PROGRAM = fileURLToPath(new URL('hit-cost.ts', import.meta.url));

/** What a hit costs each subject: a policy, or `map` for a bare Map. Each alone in a process, because they share the CPU's caches. */
export function hitCosts(subjects: readonly string[]): readonly HitCost[] {
  return subjects.map((subject) => {
    const args = ['--disable-warning=ExperimentalWarning', PROGRAM, subject];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${PROGRAM} ${subject} ended with ${status}: ${stderr}`);
    return JSON.parse(stdout) as HitCost;
  });
}
