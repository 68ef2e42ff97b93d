import { readFileSync } from 'node:fs';

/** What a process has cost since it was started, and what it occupies. Linux only: nothing else tells it so finely. */
export function costOf(pid: number | undefined): { readonly cpuS: number; readonly residentMb: number } {
  // Behind the name in parentheses, which may hold spaces: utime and stime are fields 14 and 15 of the whole (proc(5)).
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const ticks = Number(stat[11]) + Number(stat[12]);
  return { cpuS: ticks / 100, residentMb: (Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * 1024) / 1e6 };
}
