import { setImmediate as turn } from 'node:timers/promises';

/**
 * Settles as a promise does, if a timer does that, and fails where another timer of so many ms, set now, comes first. A machine that stands
 * still makes both late, and their order stays; a clock would only tell of the machine.
 */
export function beforeTimer<T>(promise: Promise<T>, ms: number): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const late = (): void => reject(new Error(`not settled when a timer of ${ms} ms had its turn`));
    const timer = setTimeout(late, ms);
    promise.finally(() => clearTimeout(timer)).then(resolve, reject);
  });
}

/** Whether a promise settles in the turn of the event loop in which it was made: it waits for nothing. */
export async function isAtOnce(promise: Promise<unknown>): Promise<boolean> {
  let isSettled = false;
  const settle = (): void => void (isSettled = true);
  promise.then(settle, settle);
  await turn();
  return isSettled;
}
