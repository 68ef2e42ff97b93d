/** Does one thing after another, so many a second, until told to stop. It does not make up for what an outage cost. */
export async function pace(perSecond: number, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  const intervalMs = 1000 / perSecond;
  let dueMs = performance.now() + intervalMs * Math.random();
  while (!signal.aborted) {
    const aheadMs = dueMs - performance.now();
    if (aheadMs > 0) await new Promise((resolve) => setTimeout(resolve, aheadMs));
    dueMs = Math.max(dueMs, performance.now() - 50) + intervalMs;
    await work();
  }
}
