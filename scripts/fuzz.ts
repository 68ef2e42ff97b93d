// npm run fuzz: bad input, generated from a seed, on everything that listens, for as long as asked.
import { KitError, toStderr } from '../test/kit/index.ts';
import { Lines } from '../test/fuzz/lines.ts';
import { run, type Report } from '../test/fuzz/run.ts';
import { startSurfaces } from '../test/fuzz/surfaces.ts';

const help = `Usage: npm run fuzz -- [--minutes N] [--seed S]

Starts Postgres, Kafka, Redis and every process of ours, and sends them what seed S (default: the time) and those after it
generate, N minutes long (default 1). Prints a line every ten seconds; ends with 1 where something does not hold, and says the
seed that shows it, which a run of that seed does in its first round.
`;

const TELL_MS = 10_000;

function option(name: string, otherwise: number): number {
  const at = process.argv.indexOf(`--${name}`);
  if (at < 0) return otherwise;
  const value = Number(process.argv[at + 1]);
  if (Number.isFinite(value) && value > 0) return value;
  process.stderr.write(`--${name}: found ${process.argv[at + 1]}, expected a number above 0\n`);
  process.exit(2);
}

async function main(): Promise<void> {
  if (process.argv.includes('--help')) {
    process.stdout.write(help);
    return;
  }
  const [minutes, seed] = [option('minutes', 1), Math.floor(option('seed', Date.now() / 1000))];
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

main().catch((error: unknown) => {
  if (!(error instanceof KitError)) throw error;
  toStderr(error.message);
  process.exit(1);
});
