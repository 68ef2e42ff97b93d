import type { ServerResponse } from 'node:http';
import { CrowdedError } from './body.ts';

/** What answers may occupy together that are made for their caller alone and that he has not taken yet. */
export const MAX_UNREAD_BYTES = 64 * 1024 * 1024;
/** So long nothing of an answer is taken before the connection is given up; twice as long where the kernel took a part at first. */
const MAX_IDLE_MS = 30_000;

/** Of all answers in this process. */
let unreadBytes = 0;

/** To be asked before such an answer is made. Throws {@link CrowdedError}. */
export function refuseWhileUnread(): void {
  if (unreadBytes < MAX_UNREAD_BYTES) return;
  throw new CrowdedError(
    'the answers that other callers have not taken yet take all the memory that there is for them',
  );
}

/** Ends an answer whose head is written. Who takes it slowly gets it all the same; who takes nothing of it loses his connection. */
export function endCounted(response: ServerResponse, text: string): void {
  if (!response.destroyed) {
    const { length } = text;
    unreadBytes += length;
    response.once('close', () => (unreadBytes -= length));
    response.setTimeout(MAX_IDLE_MS, () => response.destroy());
  }
  response.end(text);
}
