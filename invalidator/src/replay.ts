import { rulesOfSource, type TidemarkConfig } from '@tidemark/proto';
import { createKafka, createLogger, isMissingTopic, openTopicLookup } from '@tidemark/runtime';
import { kafkaStream } from './adapters/kafka-stream.ts';
import { OutputClosedError, textWriter, type TextWriter } from './adapters/text-writer.ts';
import { environmentHelp, replayConfig, type ReplayConfig } from './config.ts';
import { OperatorError } from './core/errors.ts';
import { Replay } from './core/replay/engine.ts';
import { NdjsonOutput } from './core/replay/ndjson.ts';
import type { RecordStream, ReplayTarget } from './core/replay/ports.ts';
import type { Range } from './core/replay/range.ts';
import { replayStream } from './replay/loop.ts';
import { REPLAY_HELP, replayOptions, type ReplayOptions } from './replay/options.ts';
import { planOf } from './replay/plan.ts';
import { Progress } from './replay/progress.ts';

/** How a command that was interrupted ends: 128 + SIGINT. */
const INTERRUPTED = 130;

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
  const writer = textWriter(process.stdout);
  try {
    return await work({ options, config, signal: interrupt.signal, writer });
  } catch (error) {
    // Who reads the lines has seen enough.
    if (error instanceof OutputClosedError) return 0;
    throw error;
  }
}

async function work(context: {
  readonly options: ReplayOptions;
  readonly config: ReplayConfig;
  readonly signal: AbortSignal;
  readonly writer: TextWriter;
}): Promise<number> {
  const { options, config, signal, writer } = context;
  const rules = rulesOfSource(selected(config, options.namespaces), config.source);
  const { stream, range } = await openKafka(options, config);
  const target = linesTo(writer);
  const replaying = new Replay({ rules, range, output: target.output });
  const progress = new Progress({ replay: replaying, stream, isQuiet: options.isQuiet });
  let isDone: boolean;
  try {
    isDone = await replayStream({ replay: replaying, stream, target, signal, onFlushed: async () => undefined });
  } finally {
    progress.stop();
  }
  for (const line of await target.finish()) say(line);
  return isDone ? 0 : INTERRUPTED;
}

async function openKafka(
  options: ReplayOptions,
  config: ReplayConfig,
): Promise<{ readonly stream: RecordStream; readonly range: Range }> {
  const { topic } = config;
  const logger = createLogger({ service: 'replay', instance: config.instance, level: config.logLevel, to: 'stderr' });
  const kafka = createKafka({ ...config.kafka, clientId: `tidemark-replay-${config.instance}`, logger });
  const lookup = openTopicLookup(kafka, topic);
  try {
    const { from = { kind: 'earliest' }, to = { kind: 'latest' } } = options;
    const plan = await planOf(lookup, { topic, from, to, resumeAt: undefined });
    plan.notes.forEach(say);
    const { fromOffset, endOffset, range } = plan;
    return { stream: kafkaStream({ kafka, topic, from: fromOffset, end: endOffset, logger }), range };
  } catch (error) {
    throw isMissingTopic(error)
      ? new OperatorError(
          `topic ${topic}: there is none, expected the one that the invalidator writes (see sources in the configuration)`,
        )
      : error;
  } finally {
    lookup.close();
  }
}

/** The document with only the namespaces that were asked for. Throws {@link OperatorError} for one that is not there. */
function selected({ document, source }: ReplayConfig, names: readonly string[]): TidemarkConfig {
  if (names.length === 0) return document;
  const chosen = names.map((name) => {
    const namespace = Object.hasOwn(document.namespaces, name) ? document.namespaces[name] : undefined;
    const there = Object.keys(document.namespaces).filter((other) => document.namespaces[other]?.source === source);
    if (namespace?.source !== source)
      throw new OperatorError(`--namespace: found "${name}", expected one of source ${source}: ${there.join(', ')}`);
    if (namespace.invalidation !== 'rules')
      throw new OperatorError(`--namespace ${name}: it is ttl_only, so nothing ever invalidates it`);
    return [name, namespace] as const;
  });
  return { ...document, namespaces: Object.fromEntries(chosen) };
}

function linesTo(writer: TextWriter): ReplayTarget {
  return {
    output: new NdjsonOutput((line) => writer.write(line)),
    get pending() {
      return writer.pending;
    },
    flush: () => writer.flush(),
    finish: async () => [],
  };
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
