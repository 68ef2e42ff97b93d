import { parseLsn, type Lsn } from '@tidemark/proto';

/** A timeline that the server's own one descends from, and where it was left. */
export interface TimelineEnd {
  readonly timeline: number;
  /** End of its WAL: what lies below belongs to the server's history too, what lies at or above does not. */
  readonly end: Lsn;
}

/** The ancestors of a timeline, oldest first; or why they are not known. */
export type TimelineHistory = readonly TimelineEnd[] | { readonly unknown: string };

/** As readTimeLineHistory() in timeline.c reads a line: id, a tab, the position; then the reason in words. */
const LINE = /^([0-9]{1,10})\t([0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8})(?:\s|$)/;

/**
 * Reads a timeline history file (postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES). A file that
 * Postgres would refuse, or in which positions go back, is unknown history.
 * @param timeline whose file it is
 */
export function parseTimelineHistory(text: string, timeline: number): TimelineHistory {
  const ends: TimelineEnd[] = [];
  for (const raw of text.split('\n')) {
    const line = raw.trimStart();
    if (line === '' || line.startsWith('#')) continue;
    const entry = entryOf(line);
    if (entry === undefined) return { unknown: `line ${JSON.stringify(raw)} names no timeline and position` };
    const before = ends.at(-1) ?? { timeline: 0, end: 0 };
    if (entry.timeline <= before.timeline || entry.end < before.end)
      return { unknown: `timeline ${entry.timeline} does not follow timeline ${before.timeline}` };
    ends.push(entry);
  }
  const last = ends.at(-1);
  if (last === undefined) return { unknown: 'the file is empty' };
  if (last.timeline >= timeline) return { unknown: `timeline ${last.timeline} is no ancestor of timeline ${timeline}` };
  return ends;
}

function entryOf(line: string): TimelineEnd | undefined {
  const [, id, position] = LINE.exec(line) ?? [];
  if (id === undefined || position === undefined) return undefined;
  try {
    return { timeline: Number(id), end: parseLsn(position) };
  } catch {
    return undefined; // beyond what is counted exactly
  }
}
