import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/** The ids of the processes below a process. */
export function descendants(pid: number): number[] {
  const childrenOf = existsSync('/proc/self/task') ? childrenFromProc : childrenFromPs();
  const below = [pid];
  for (const known of below) below.push(...childrenOf(known));
  return below.slice(1);
}

function childrenFromProc(pid: number): number[] {
  try {
    return numbers(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
  } catch {
    return []; // it has ended meanwhile
  }
}

function childrenFromPs(): (pid: number) => number[] {
  const lines = spawnSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).stdout.split('\n').map(numbers);
  return (pid) => lines.flatMap(([child, parent]) => (parent === pid && child !== undefined ? [child] : []));
}

function numbers(text: string): number[] {
  return text
    .trim()
    .split(/\s+/)
    .filter((word) => word !== '')
    .map(Number);
}
