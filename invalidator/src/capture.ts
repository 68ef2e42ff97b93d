import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { decodeBatch, type Span } from '@tidemark/proto';
import { openCaptureWriter, partialName, readPartial, type CaptureWriter } from './adapters/capture-file.ts';
import { captureConfig, environmentHelp } from './config.ts';
import { OperatorError } from './core/errors.ts';
import type { CaptureHeader } from './core/replay/capture-format.ts';
import { RangeFilter, type Range } from './core/replay/range.ts';
import { boundOf } from './replay/options.ts';
import { planTopic } from './replay/source.ts';

const HELP = `Usage: tidemark capture --out FILE [--from PLACE] [--to PLACE]

Writes the records of the stream in Kafka to a file, for tidemark replay --file. A PLACE is as for tidemark replay.

  --out FILE     the file; "-" is standard output. It is FILE.partial until it is finished: the same command goes on with it
  --from PLACE   where to begin (default: earliest)
  --to PLACE     where to end (default: latest, as it is at the start)
  --config FILE  YAML file with sources and namespaces (same as TIDEMARK_CONFIG)
  --quiet        says nothing on standard error

Examples:
  tidemark capture --out week.bin --from 7d
  tidemark capture --out - --from 1h | ssh elsewhere tidemark replay --file - --config new-rules.yaml
`;

const INTERRUPTED = 130;

interface CaptureOptions {
  readonly out: string;
  readonly from: string;
  readonly to: string;
  readonly config: string | undefined;
  readonly isQuiet: boolean;
}

/** `capture`: resolves to the exit code. Rejects when a person has to mend something first. */
export async function capture(args: readonly string[]): Promise<number> {
  const options = captureOptions(args);
  if (options === undefined) {
    process.stdout.write(`${HELP}\nEnvironment:\n${environmentHelp('capture')}\n`);
    return 0;
  }
  const { out, from, to } = options;
  const say = (line: string): void => void (options.isQuiet || process.stderr.write(`${line}\n`));
  const config = captureConfig(process.env, options.config);
  if (out !== '-' && existsSync(out))
    throw new OperatorError(
      `--out: found ${out}, expected a file that is not there yet: delete it or name another one`,
    );
  const partial = out === '-' ? undefined : await readPartial(out);
  if (partial !== undefined) checkSame(partial.header, { options, topic: config.topic });
  const nowMs = Date.now();
  const planned = await planTopic(config, {
    // The range of an unfinished capture is what it was at its start.
    from: partial === undefined ? boundOf('--from', from, nowMs) : { kind: 'earliest' },
    to: partial === undefined ? boundOf('--to', to, nowMs) : { kind: 'latest' },
    resumeAt: partial && (partial.nextOffset ?? partial.header.fromOffset),
  });
  const { plan } = planned;
  plan.notes.forEach(say);
  const header: CaptureHeader = partial?.header ?? {
    source: config.source,
    topic: config.topic,
    range: plan.range,
    asked: { from, to },
    fromOffset: plan.fromOffset,
    endOffset: plan.endOffset,
    newestEpoch: plan.newestEpoch,
    capturedAtMs: nowMs,
  };
  if (partial !== undefined) say(`going on with ${partialName(out)} behind ${partial.records} records`);
  const writer = await openCaptureWriter(out, partial ?? { header });
  const stream = planned.read(plan.fromOffset, header.endOffset);
  const interrupt = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupt.abort());
  const isDone = await copy({ stream, writer, range: header.range, signal: interrupt.signal });
  say(`${writer.records.toLocaleString('en')} records${isDone ? '' : ', interrupted: the same command goes on'}`);
  return isDone ? 0 : INTERRUPTED;
}

/** Writes what belongs to the range, and the records just before it. Resolves to whether it came to the end. */
async function copy(options: {
  readonly stream: ReturnType<Awaited<ReturnType<typeof planTopic>>['read']>;
  readonly writer: CaptureWriter;
  readonly range: Range;
  readonly signal: AbortSignal;
}): Promise<boolean> {
  const { stream, writer, range, signal } = options;
  const filter = new RangeFilter(range);
  let hasEnded = false;
  try {
    await stream.read(async (records) => {
      if (signal.aborted) return false;
      const end = records.findIndex(
        ({ value, timestampMs }) => filter.place({ timestampMs, span: spanOf(value) }) === 'after',
      );
      hasEnded = end >= 0;
      await writer.write(hasEnded ? records.slice(0, end) : records);
      return !hasEnded;
    }, signal);
  } catch (error) {
    await writer.abandon();
    throw error;
  }
  if (signal.aborted && !hasEnded) {
    await writer.abandon();
    return false;
  }
  await writer.finish();
  return true;
}

function captureOptions(args: readonly string[]): CaptureOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      out: { type: 'string' },
      from: { type: 'string', default: 'earliest' },
      to: { type: 'string', default: 'latest' },
      config: { type: 'string' },
      quiet: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) return undefined;
  const { out, from, to, config, quiet: isQuiet } = values;
  if (out === undefined) throw new OperatorError('--out: found nothing, expected a file, or "-" for standard output');
  return { out, from, to, config, isQuiet };
}

/** What is gone on with must be what is asked for. */
function checkSame(
  { topic, asked }: CaptureHeader,
  wanted: { readonly options: CaptureOptions; readonly topic: string },
): void {
  const { options } = wanted;
  const [found, expected] = [
    `${topic} from ${asked.from} to ${asked.to}`,
    `${wanted.topic} from ${options.from} to ${options.to}`,
  ];
  if (found !== expected)
    throw new OperatorError(
      `${partialName(options.out)}: found an unfinished capture of ${found}, expected one of ${expected}: delete it to begin anew`,
    );
}

function spanOf(value: Uint8Array): Span | undefined {
  try {
    const decoded = decodeBatch(value);
    return decoded.kind === 'batch' ? decoded.batch : decoded.span;
  } catch {
    return undefined;
  }
}
