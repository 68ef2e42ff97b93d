import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** The ids of the processes below a process. */
export function descendants(pid: number): number[] {
  const childrenOf = existsSync('/proc/self/task') ? childrenFromProc : childrenFromPs();
  const below = [pid];
  for (const known of below) below.push(...childrenOf(known));
  return below.slice(1);
}

/** A signal that stops a process is done with when each of its threads stands; it takes this long at most. */
const STILL_MS = 200;

/** Returns once no thread of a process runs any more that was sent SIGSTOP: until then it may still answer. Where there is no /proc, at once. */
export function waitUntilStill(pid: number): void {
  const nobody = new Int32Array(new SharedArrayBuffer(4));
  const endMs = performance.now() + STILL_MS;
  while (runs(pid) && performance.now() < endMs) Atomics.wait(nobody, 0, 0, 1);
}

function runs(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).some((thread) => {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      // proc(5): the state follows the name, which is in parentheses and may hold anything.
      return !'TtZX'.includes(stat.charAt(stat.lastIndexOf(')') + 2));
    });
  } catch {
    return false; // it has ended meanwhile, or there is no /proc
  }
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
