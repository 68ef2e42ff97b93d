import { expect, it } from 'vitest';
import { Gather } from './gather.ts';

/** Answers each question with its double, and tells what was asked together. */
function doubling(most = 3) {
  const asked: number[][] = [];
  const gather = new Gather<number, number>({
    most,
    answer: (questions) => {
      asked.push([...questions]);
      return Promise.resolve(questions.map((question) => 2 * question));
    },
  });
  return { gather, asked };
}

it('what is asked within a tick goes out together, each with its own answer', async () => {
  const { gather, asked } = doubling();
  expect(await Promise.all([gather.ask(1), gather.ask(2)])).toEqual([2, 4]);
  expect(await gather.ask(3)).toBe(6);
  expect(asked).toEqual([[1, 2], [3]]);
});

it('no more goes out together than may', async () => {
  const { gather, asked } = doubling();
  const answers = await Promise.all([1, 2, 3, 4, 5, 6, 7].map((question) => gather.ask(question)));
  expect(answers).toEqual([2, 4, 6, 8, 10, 12, 14]);
  expect(asked).toEqual([[1, 2, 3], [4, 5, 6], [7]]);
});

it('who asks while an answer is under way does not wait for it', async () => {
  const asked: number[][] = [];
  const gates = [Promise.withResolvers<number[]>(), Promise.withResolvers<number[]>()];
  const gather = new Gather<number, number>({
    most: 3,
    answer: (questions) => {
      asked.push([...questions]);
      return gates[asked.length - 1]!.promise;
    },
  });
  const first = gather.ask(1);
  await Promise.resolve();
  const second = gather.ask(2);
  await Promise.resolve();
  expect(asked).toEqual([[1], [2]]);
  gates[1]!.resolve([4]);
  expect(await second).toBe(4);
  gates[0]!.resolve([2]);
  expect(await first).toBe(2);
});

it('a failure is that of all who asked together, and of nobody else', async () => {
  let calls = 0;
  const gather = new Gather<number, number>({
    most: 3,
    answer: (questions) => {
      calls += 1;
      return calls === 1 ? Promise.reject(new Error('no')) : Promise.resolve([...questions]);
    },
  });
  const settled = await Promise.allSettled([gather.ask(1), gather.ask(2)]);
  expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(await gather.ask(3)).toBe(3);
});
