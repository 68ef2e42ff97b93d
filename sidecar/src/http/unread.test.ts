import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import { CrowdedError } from './body.ts';
import { endCounted, MAX_UNREAD_BYTES, refuseWhileUnread } from './unread.ts';

/** Whose caller takes nothing: how much of that a kernel has room for is not to be relied on. */
class Untaken extends EventEmitter {
  destroyed = false;
  ended = '';
  whenIdle: () => void = () => undefined;

  setTimeout(_: number, whenIdle: () => void): void {
    this.whenIdle = whenIdle;
  }

  end(text: string): void {
    this.ended = text;
  }

  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

const QUARTER = 'x'.repeat(MAX_UNREAD_BYTES / 4);

function untaken(of: Partial<Untaken> = {}): Untaken {
  const response = Object.assign(new Untaken(), of);
  endCounted(response as unknown as ServerResponse, QUARTER);
  return response;
}

it('answers that nobody takes have a limit together, and give back what they had when their callers are gone', () => {
  const responses = [untaken(), untaken(), untaken()];
  refuseWhileUnread();
  responses.push(untaken());
  expect(refuseWhileUnread).toThrow(CrowdedError);
  expect(responses.map(({ ended }) => ended.length)).toEqual(responses.map(() => QUARTER.length));
  responses[0]?.emit('close');
  refuseWhileUnread();
  responses.push(untaken());
  expect(refuseWhileUnread).toThrow(CrowdedError);
  for (const response of responses.slice(1)) response.whenIdle();
  expect(responses.map(({ destroyed }) => destroyed)).toEqual([false, true, true, true, true]);
  // Nobody tells of the end of one that has ended already.
  for (let i = 0; i < 5; i++) untaken({ destroyed: true });
  refuseWhileUnread();
});
