import { expect, it } from 'vitest';
import { testCore } from '../testing/core.ts';
import { HandLoader } from '../testing/hand-loader.ts';
import { BatchReader, type BatchAnswer } from './batch-reader.ts';
import { Positions } from './positions.ts';

const TIMEOUT_MS = 1_000;

/** A sidecar that loads what is missing itself, and one batch of two keys. */
function start({ snapshot, aheadBy = 1_000 }: { snapshot: boolean; aheadBy?: number }) {
  const loader = new HandLoader();
  const core = testCore({ loaders: { user: loader } });
  const positions = new Positions({
    client: { position: () => Promise.resolve({ epoch: core.replica.epoch, lsn: core.stream.to + aheadBy }) },
    most: 10,
  });
  const batches = new BatchReader({ ...core, positions, timeoutMs: TIMEOUT_MS });
  core.stream.say();
  const answers: BatchAnswer[] = [];
  const namespace = core.of('user');
  const items = ['1', '2'].map((key) => ({ namespace, key }));
  batches.read({ items, mode: 'usual', snapshot, settle: (answer) => void answers.push(answer) });
  return { ...core, loader, answers };
}

function told({ outcomes }: BatchAnswer): unknown[] {
  return outcomes.map((outcome) =>
    outcome.kind === 'value' ? Buffer.from(outcome.entry.body).toString() : (outcome as { why?: string }).why,
  );
}

it('what was invalidated while a batch waited for the rest is loaded anew', async () => {
  const { loader, stream, answers } = start({ snapshot: false });
  await loader.end('one');
  stream.say({ users: ['1'] });
  await loader.end('two');
  expect([loader.begun, answers]).toEqual([3, []]);
  await loader.end('one anew');
  expect(answers.map(told)).toEqual([['one anew', 'two']]);
});

it('what is invalidated each time is told so, and the rest is answered', async () => {
  const { loader, stream, answers } = start({ snapshot: false });
  await loader.end('one');
  for (let i = 0; answers.length === 0; i += 1) {
    expect(i).toBeLessThan(20);
    stream.say({ users: [i % 2 === 0 ? '1' : '2'] });
    await loader.end(`v${i}`);
  }
  expect(answers.map(told)).toEqual([[expect.anything(), expect.anything()]]);
  expect(answers[0]?.outcomes).toContainEqual(expect.objectContaining({ kind: 'failed', why: 'changing' }));
  expect(answers[0]?.outcomes).toContainEqual(expect.objectContaining({ kind: 'value' }));
});

it('a snapshot that cannot be had leaves the values, loaded anew where they changed', async () => {
  const { loader, stream, clock, watermark, answers } = start({ snapshot: true });
  await loader.end('one');
  await loader.end('two');
  await expect.poll(() => watermark.waiting).toBe(1);
  stream.say({ users: ['1'] });
  clock.advance(TIMEOUT_MS);
  expect(answers).toEqual([]);
  await loader.end('one anew');
  expect(answers.map(({ snapshot }) => snapshot)).toEqual([{ failed: 'behind' }]);
  expect(answers.map(told)).toEqual([['one anew', 'two']]);
});

it('[I15] a snapshot holds nothing that was loaded for its caller alone, for it may lack a change', async () => {
  const { loader, stream, clock, answers } = start({ snapshot: true, aheadBy: 0 });
  stream.say({ users: ['1'] });
  await loader.end('one of before');
  await loader.end('two');
  // What was refused is loaded anew, and so are both, should the position have to be waited for.
  for (let i = 0; answers.length === 0; i += 1) {
    expect(i).toBeLessThan(50);
    await loader.end('anew');
    stream.say();
    clock.advance(20);
  }
  const [answer] = answers as [BatchAnswer];
  expect(answer.snapshot).toEqual({ at: expect.any(Number) as number });
  expect(told(answer)).toEqual(['anew', 'two']);
});

it('[I15] what changes during each load makes no snapshot', async () => {
  const { loader, stream, clock, answers } = start({ snapshot: true, aheadBy: 0 });
  for (let i = 0; answers.length === 0; i += 1) {
    expect(i).toBeLessThan(100);
    stream.say({ users: ['1', '2'] });
    await loader.end(`v${i}`);
    clock.advance(20);
  }
  expect(answers.map(({ snapshot }) => snapshot)).toEqual([
    { failed: expect.stringMatching(/^(?:missing|changing)$/) },
  ]);
});
