import { loadConfigFile } from '@tidemark/runtime';
import { OutputClosedError, textWriter, type TextWriter } from './adapters/text-writer.ts';
import { environmentHelp, replayConfig, type ReplayConfig } from './config.ts';
import { OperatorError } from './core/errors.ts';
import { compareTallies } from './core/replay/compare.ts';
import { Replay } from './core/replay/engine.ts';
import type { ReplayTarget } from './core/replay/ports.ts';
import { RewoundError, type LogMark } from './core/replay/raiser.ts';
import { Tally } from './core/replay/tally.ts';
import { openKeeper } from './replay/keeper.ts';
import { replayStream } from './replay/loop.ts';
import { REPLAY_HELP, replayOptions, type ReplayOptions } from './replay/options.ts';
import { Progress } from './replay/progress.ts';
import { chooseRules, type ChosenRules } from './replay/rules.ts';
import { captureSource, topicSource } from './replay/source.ts';
import { reportJson, reportTable } from './replay/table.ts';
import { countsOnly, linesTo, redisTarget, sidecarsTarget } from './replay/targets.ts';

/** How a command that was interrupted ends: 128 + SIGINT. */
const INTERRUPTED = 130;

interface Work {
  readonly options: ReplayOptions;
  readonly config: ReplayConfig;
  readonly signal: AbortSignal;
  readonly writer: TextWriter;
}

/** `replay`: resolves to the exit code. Rejects when a person has to mend something first. */
export async function replay(args: readonly string[]): Promise<number> {
  const options = replayOptions(args, Date.now());
  if (options === undefined) {
    process.stdout.write(`${REPLAY_HELP}\nEnvironment:\n${environmentHelp('replay')}\n`);
    return 0;
  }
  const config = replayConfig(process.env, { configFile: options.config, isFromFile: options.file !== undefined });
  const interrupt = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort());
  const work = { options, config, signal: interrupt.signal, writer: textWriter(process.stdout) };
  try {
    return await (options.form === 'ndjson' ? replayInto(work) : count(work));
  } catch (error) {
    // Who reads the lines has seen enough.
    if (error instanceof OutputClosedError) return 0;
    // What was under way was left; the checkpoint stands before it.
    if (interrupt.signal.aborted && (error as Error).name === 'AbortError') return INTERRUPTED;
    throw error;
  }
}

/** Tells each invalidation to a target. */
async function replayInto({ options, config, signal, writer }: Work): Promise<number> {
  const chosen = chooseRules(config.document, {
    source: config.source,
    names: options.namespaces,
    ...(options.into === 'redis' && { needsL2: true }),
  });
  const keeper = await openKeeper(options, { config, chosen });
  const { stream, range } = await open(options, config, keeper.found?.state.nextOffset);
  const target = targetOf({ options, config, signal, writer, chosen, marks: keeper.found?.logs ?? [] });
  try {
    const replaying = new Replay({
      rules: chosen.rules,
      range,
      output: target.output,
      ...(keeper.found && { resume: keeper.found.state }),
    });
    const progress = new Progress({ replay: replaying, stream, isQuiet: options.isQuiet });
    const onFlushed = (isLast: boolean): Promise<void> => keeper.keep(replaying.state, target.marks, isLast);
    const isDone = await replayStream({ replays: [replaying], stream, target, signal, onFlushed }).finally(() =>
      progress.stop(),
    );
    for (const line of await target.finish()) say(line);
    return isDone ? 0 : INTERRUPTED;
  } catch (error) {
    if (!(error instanceof RewoundError)) throw error;
    await keeper.forget();
    throw new OperatorError(`${error.message}: run the replay again, from where it began`);
  } finally {
    target.close();
  }
}

function targetOf({
  options,
  config,
  signal,
  writer,
  chosen,
  marks,
}: Work & { readonly chosen: ChosenRules; readonly marks: readonly (LogMark | null)[] }): ReplayTarget {
  switch (options.into) {
    case 'stdout':
      return linesTo(writer);
    case 'redis':
      return redisTarget({ config, chosen, marks, signal });
    case 'sidecars':
      return sidecarsTarget({ config, rate: options.rate, signal });
  }
}

/** Only counts, under one set of rules or two, and prints a table. */
async function count({ options, config, signal, writer }: Work): Promise<number> {
  const { source } = config;
  const names = options.namespaces;
  const chosen = chooseRules(config.document, { source, names });
  const other =
    options.compare === undefined
      ? undefined
      : chooseRules(loadConfigFile(options.compare), { source, names, isComparison: true });
  const { stream, range } = await open(options, config);
  const begin = (one: ChosenRules): { readonly tally: Tally; readonly replay: Replay } => {
    const tally = new Tally(one);
    return { tally, replay: new Replay({ rules: one.rules, range, output: tally }) };
  };
  const [now, before] = [begin(chosen), other && begin(other)];
  const replays = [now.replay, ...(before === undefined ? [] : [before.replay])];
  const progress = new Progress({ replay: now.replay, stream, isQuiet: options.isQuiet });
  const onFlushed = async (): Promise<void> => undefined;
  const isDone = await replayStream({ replays, stream, target: countsOnly(now.tally), signal, onFlushed }).finally(() =>
    progress.stop(),
  );
  const { seconds } = progress.rates();
  const differences = before && compareTallies(before.tally, now.tally);
  const report = { state: now.replay.state, seconds, namespaces: now.tally.sums(), differences };
  writer.write(options.form === 'json' ? reportJson(report) : reportTable(report));
  await writer.flush();
  return isDone ? 0 : INTERRUPTED;
}

async function open(options: ReplayOptions, config: ReplayConfig, resumeAt?: number): ReturnType<typeof topicSource> {
  // Where it went on before is where it goes on.
  const bounds = { from: resumeAt === undefined ? options.from : undefined, to: options.to };
  const source =
    options.file === undefined
      ? await topicSource(config, { ...bounds, resumeAt })
      : await captureSource(options.file, bounds);
  source.notes.forEach(say);
  return source;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
