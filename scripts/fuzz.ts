// npm run fuzz: bad input, generated from a seed, on everything that listens, for as long as asked.
import { positive, readArguments } from '../test/kit/index.ts';
import { Lines } from '../test/fuzz/lines.ts';
import { run, type Report } from '../test/fuzz/run.ts';
import { startSurfaces } from '../test/fuzz/surfaces.ts';
import { runCommand } from './lib/command.ts';

const help = `Usage: npm run fuzz -- [--minutes N] [--seed S]

Starts Postgres, Kafka, Redis and every process of ours, and sends them what seed S (default: the time) and those after it
generate, N minutes long (default 1). Prints a line every ten seconds; ends with 1 where something does not hold, and says the
seed that shows it, which a run of that seed does in its first round.
`;

const TELL_MS = 10_000;

async function main(): Promise<void> {
  const { values } = readArguments('fuzz', {
    options: {
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string', default: String(Math.floor(Date.now() / 1000)) },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) {
    process.stdout.write(help);
    return;
  }
  const minutes = positive('--minutes', values.minutes, 1e6);
  const seed = Math.floor(positive('--seed', values.seed, Number.MAX_SAFE_INTEGER));
  const lines = new Lines();
  const surfaces = await startSurfaces({ onLine: lines.take });
  lines.begin();
  const beganAt = performance.now();
  let toldAt = beganAt;
  const tell = ({ requests, garbage, answers, stored, served, violations }: Report): void => {
    toldAt = performance.now();
    process.stdout.write(
      `${Math.round((toldAt - beganAt) / 1000)} s: ${requests} requests, ${garbage} times garbage, ${answers} answers, ` +
        `${stored} values stored, ${served} served, ${lines.count} log lines, ${violations.length} violations\n`,
    );
  };
  process.stdout.write(`from seed ${seed} on, ${minutes} min\n`);
  const report = await run(surfaces, {
    seed,
    isOver: () => performance.now() - beganAt > minutes * 60_000,
    onRound: (soFar) => void (performance.now() - toldAt > TELL_MS && tell(soFar)),
  });
  const { statuses, held, violations } = report;
  tell(report);
  process.stdout.write(`${JSON.stringify({ statuses, held })}\n`);
  for (const line of [...violations, ...lines.errors]) process.stdout.write(`${line}\n`);
  await surfaces.stop();
  process.exitCode = violations.length + lines.errors.length === 0 ? 0 : 1;
}

await runCommand(main);
