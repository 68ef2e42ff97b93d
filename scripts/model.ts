// npm run model: TLC explores the protocol (test/model/Coherence.tla), further than the tests do.
import { cpus, freemem } from 'node:os';
import { KitError, onParentGone, positive, readArguments, toStderr } from '../test/kit/index.ts';
import { instances, mutants, type Size } from '../test/model/instances.ts';
import type { Model } from '../test/model/model.ts';
import { formatTrace, type Totals } from '../test/model/output.ts';
import { check } from '../test/model/tlc.ts';
import { runCommand } from './lib/command.ts';

const help = `Usage: npm run model [-- OPTIONS] [WORD ...]

Explores every state of instances of the protocol's model; words choose those whose name contains one of them.

  --size small|medium|large   how large the instances are (small: a minute, medium: an hour at most, large: days)
  --without RULE              leaves out a rule, and shows how that ends; may be given several times
  --with DESIGN               takes a design that was considered instead; may be given several times
  --workers N                 threads (as many as there are processors)
  --memory MB                 heap of TLC (half of what is free)
  --rules                     lists the rules that the tests leave out

Fails when an invariant does not hold. test/model/README.md says what is modelled.
`;

const { values, positionals: words } = await runCommand(() =>
  readArguments('model', {
    allowPositionals: true,
    options: {
      size: { type: 'string', default: 'small' },
      without: { type: 'string', multiple: true, default: [] },
      with: { type: 'string', multiple: true, default: [] },
      workers: { type: 'string', default: String(cpus().length) },
      memory: { type: 'string', default: String(Math.max(1024, Math.floor(freemem() / 2 ** 21))) },
      rules: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  }),
);

function chosen(): [name: string, model: Model][] {
  const { size, without } = values;
  if (!Object.hasOwn(instances, size)) throw new KitError(`There is no size "${size}": small, medium or large.`);
  // A rule that the tests leave out has an instance in which that is known to end badly soon.
  const known = mutants.find((mutant) => mutant.without.toSorted().join() === without.toSorted().join());
  const all: [string, Model][] =
    known !== undefined && size === 'small' && words.length === 0
      ? [['the instance of the tests', known.model]]
      : Object.entries(instances[size as Size]);
  const fitting = all.filter(([name]) => words.length === 0 || words.some((word) => name.includes(word)));
  if (fitting.length === 0) throw new KitError(`No instance of this size has a name with ${words.join(' or ')} in it.`);
  return fitting;
}

function counts({ generated, distinct, depth }: Totals): string {
  const number = (count: number): string => count.toLocaleString('en');
  return `${number(generated)} states generated, ${number(distinct)} distinct, depth ${depth}`;
}

async function main(): Promise<void> {
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stopping.abort());
  onParentGone(() => stopping.abort());
  for (const [name, model] of chosen()) {
    process.stdout.write(`${name}\n`);
    const verdict = await check(
      { ...model, without: values.without, having: values.with },
      {
        workers: Math.ceil(positive('--workers', values.workers, 256)),
        memoryMb: Math.floor(positive('--memory', values.memory, 1e6)),
        progress: toStderr,
        onCount: (totals) => toStderr(`  ${counts(totals)} so far`),
        signal: stopping.signal,
      },
    );
    const { violated, trace, seconds } = verdict;
    process.stdout.write(`  ${counts(verdict)}, ${seconds.toFixed(1)} s\n`);
    if (violated === undefined) process.stdout.write('  every invariant holds in every state\n');
    else {
      process.stdout.write(`  ${violated} does not hold:\n${formatTrace(trace)}\n`);
      process.exitCode = 1;
    }
  }
}

if (values.help) process.stdout.write(help);
else if (values.rules) {
  for (const { without } of mutants)
    process.stdout.write(`${without.map((rule) => `--without "${rule}"`).join(' ')}\n`);
} else {
  await runCommand(main);
}
process.disconnect?.();
