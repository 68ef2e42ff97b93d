import { expect, it } from 'vitest';
import { shareNext } from './share-next.ts';

function counted() {
  const runs: PromiseWithResolvers<number>[] = [];
  const ask = shareNext(() => {
    const run = Promise.withResolvers<number>();
    runs.push(run);
    return run.promise;
  });
  return { runs, ask };
}

it('begins at once when nothing is under way, and once more for all who asked meanwhile', async () => {
  const { runs, ask } = counted();
  const first = ask();
  const others = [ask(), ask(), ask()];
  expect(runs.length).toBe(1);
  runs[0]!.resolve(1);
  expect(await first).toBe(1);
  await expect.poll(() => runs.length).toBe(2);
  const third = ask();
  runs[1]!.resolve(2);
  expect(await Promise.all(others)).toEqual([2, 2, 2]);
  await expect.poll(() => runs.length).toBe(3);
  runs[2]!.resolve(3);
  expect(await third).toBe(3);
});

it('goes on after a failure, which only those hear of who shared it', async () => {
  const { runs, ask } = counted();
  const first = ask();
  const second = ask();
  runs[0]!.reject(new Error('away'));
  await expect(first).rejects.toThrow('away');
  await expect.poll(() => runs.length).toBe(2);
  runs[1]!.resolve(2);
  expect(await second).toBe(2);
  const third = ask();
  await expect.poll(() => runs.length).toBe(3);
  runs[2]!.resolve(3);
  expect(await third).toBe(3);
});
