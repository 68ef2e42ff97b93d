/**
 * Lets callers share one run of some work that must begin after each of them has asked: one run is under way at any time,
 * and whoever asks meanwhile shares the next one. For questions whose answer must not be older than the question.
 */
export function shareNext<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<unknown> | undefined;
  let next: Promise<T> | undefined;
  const run = (): Promise<T> => {
    next = undefined;
    const answer = work();
    const settled = answer.then(
      () => undefined,
      () => undefined,
    );
    running = settled;
    void settled.then(() => {
      if (running === settled) running = undefined;
    });
    return answer;
  };
  return () => {
    if (next !== undefined) return next;
    if (running === undefined) return run();
    next = running.then(run);
    return next;
  };
}
