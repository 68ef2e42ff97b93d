// npm run soak: histories of the simulation, one seed after the other, for as long as asked. Prints what fails, shortened.
import { availableParallelism } from 'node:os';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { fullScript, play, type HistoryResult } from '../test/sim/history.ts';
import { positive, readArguments } from '../test/kit/index.ts';
import { report } from '../test/sim/report.ts';
import { runCommand } from './lib/command.ts';

const help = `Usage: npm run soak -- [--minutes N] [--seed S] [--workers N]

Plays histories of the simulation (test/sim) from seed S on (default: the time), N minutes long (default 1), in N workers
(default: one a core). Prints a line every ten seconds; ends with 1 at the first history that fails, with its seed and the
fewest steps that still fail.
`;

const TELL_MS = 10_000;
const FLAVORS = ['plain', 'changes', 'features'] as const;

/** What a worker tells of one history. */
interface Told {
  readonly steps: number;
  readonly served: HistoryResult['served'];
  readonly faults: number;
  readonly failure: string | undefined;
}

async function work(
  { first, stride, untilMs }: { first: number; stride: number; untilMs: number },
  tell: (told: Told) => void,
): Promise<void> {
  for (let seed = first; Date.now() < untilMs; seed += stride) {
    // Of each flavor a third.
    const script = fullScript(seed, FLAVORS[Math.floor(seed / stride) % FLAVORS.length]);
    const { violation, served, taken, faults } = await play(script);
    const steps = [...taken.values()].reduce((sum, count) => sum + count, 0);
    const failure = violation === undefined ? undefined : await report(script);
    tell({ steps, served, faults, failure });
    if (failure !== undefined) return;
  }
}

function soak(): void {
  const { values } = readArguments('soak', {
    options: {
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string', default: String(Math.floor(Date.now() / 1000)) },
      workers: { type: 'string', default: String(availableParallelism()) },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    process.stdout.write(help);
    return;
  }
  const minutes = positive('--minutes', values.minutes, 1e6);
  const seed = Math.floor(positive('--seed', values.seed, Number.MAX_SAFE_INTEGER));
  const workers = Math.ceil(positive('--workers', values.workers, 256));
  const startedAtMs = Date.now();
  const total = { histories: 0, steps: 0, faults: 0, l1: 0, l2: 0, coalesced: 0 };
  let failed = false;
  const tell = (): void => {
    const seconds = (Date.now() - startedAtMs) / 1000;
    const rate = (total.histories / seconds).toFixed(0);
    const served = `served ${total.l1} from L1, ${total.l2} from Redis, ${total.coalesced} to waiters`;
    process.stdout.write(
      `${seconds.toFixed(0)} s: ${total.histories} histories (${rate}/s), ${total.steps} steps, ${total.faults} faults, ${served}\n`,
    );
  };
  process.stdout.write(`from seed ${seed} on, ${minutes} min, ${workers} workers\n`);
  const progress = setInterval(tell, TELL_MS);
  let running = workers;
  for (let i = 0; i < workers; i++) {
    const worker = new Worker(new URL(import.meta.url), {
      workerData: { first: seed + i, stride: workers, untilMs: startedAtMs + minutes * 60_000 },
    });
    worker.on('message', ({ steps, faults, served, failure }: Told) => {
      total.histories += 1;
      total.steps += steps;
      total.faults += faults;
      total.l1 += served.l1;
      total.l2 += served.l2;
      total.coalesced += served.coalesced;
      if (failure === undefined) return;
      failed = true;
      process.stdout.write(`${failure}\n`);
    });
    worker.on('error', (error) => {
      failed = true;
      process.stderr.write(`${String(error)}\n`);
    });
    worker.on('exit', () => {
      running -= 1;
      if (running > 0 && !failed) return;
      clearInterval(progress);
      tell();
      process.exit(failed ? 1 : 0);
    });
  }
}

if (isMainThread) await runCommand(soak);
else {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, no window
  await work(workerData as Parameters<typeof work>[0], (told) => parentPort?.postMessage(told));
}
