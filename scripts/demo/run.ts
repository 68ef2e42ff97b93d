import { readFile } from 'node:fs/promises';
import { describeExit, KitError, type ProcessEvent, type Stack, startStack, toStderr } from '../../test/kit/index.ts';
import { Shop } from './app.ts';
import { Chaos, failures } from './chaos.ts';
import { Checker, describeStaleRead } from '../../test/history/checker.ts';
import { pace } from '../../test/history/pace.ts';
import { Load, type Pod } from './load.ts';
import type { Options } from './options.ts';
import { Parts, titleOf } from './parts.ts';
import { probe } from './prober.ts';
import { seededRandom } from '../../test/history/random.ts';
import { hitRatio, Latencies, RateWindow } from './stats.ts';
import { paint, Terminal } from './terminal.ts';
import { draw, type Picture, plainLine, summaryLines } from './view.ts';
import { Watcher } from './watcher.ts';

const sidecars = 2;
const readersPerPod = 12;
const writers = 4;
const lookMs = 250;
const drawMs = 500;
const plainMs = 1_000;
const evictedSpanMs = 10_000;
/** What --chaos does in a minute; shorter runs have shorter failures. */
const fullScaleSeconds = 60;
const keptEvents = 50;

/**
 * Runs the demo until it is asked to end. Answers the exit code, and undefined where it was asked before all was ready:
 * to exit then ends what has started. Throws a KitError where it cannot start.
 */
export async function runDemo(options: Options, asked: Promise<undefined>): Promise<number | undefined> {
  let running: Run | undefined;
  const stack = await Promise.race([start(options, (event) => running?.onProcess(event)), asked]);
  if (stack === undefined) return undefined;
  try {
    running = new Run(options, stack);
    return await running.until(asked);
  } finally {
    await stack.stop();
  }
}

async function start(options: Options, onEvent: (event: ProcessEvent) => void): Promise<Stack> {
  const read = (name: string): Promise<string> => readFile(new URL(name, import.meta.url), 'utf8');
  const [config, initSql] = await Promise.all([read('tidemark.yaml'), read('shop.sql')]);
  toStderr(`starting Postgres, Kafka, Redis, the invalidator, the applier and ${sidecars} sidecars`);
  return startStack({
    config: options.wrongRule ? withWrongRule(config) : config,
    sidecars,
    initSql,
    // The applications wait a second for a sidecar; it must have answered before, also where a fill does not come.
    env: { sidecar: { TIDEMARK_COALESCE_TIMEOUT: '500ms' } },
    onEvent,
    servers: { progress: toStderr },
  });
}

/** Prices are no longer evicted when they change. */
function withWrongRule(config: string): string {
  const changed = config.replace(
    "table: public.prices, keys: ['{product_id}:{currency}']",
    "table: public.customers, keys: ['{id}:EUR']",
  );
  if (changed === config) throw new KitError('tidemark.yaml has no rule for public.prices to replace.');
  return changed;
}

class Run {
  readonly #options: Options;
  readonly #startedAtMs = performance.now();
  readonly #end = new AbortController();
  readonly #checker = new Checker();
  readonly #evicted = new Latencies();
  readonly #evictedInPeace = new Latencies();
  readonly #evictedInTrouble = new Latencies();
  readonly #smooth = new RateWindow({ spanMs: 2_000, nowMs: this.#startedAtMs });
  readonly #lastSecond = new RateWindow({ spanMs: 1_000, nowMs: this.#startedAtMs });
  readonly #watcher = new Watcher(this.#startedAtMs);
  readonly #events: { readonly clock: string; readonly text: string }[] = [];
  readonly #pods: readonly [Pod, ...Pod[]];
  readonly #load: Load;
  readonly #parts: Parts;
  readonly #chaos: Chaos;

  constructor(options: Options, stack: Stack) {
    this.#options = options;
    this.#pods = stack.sidecars.map(({ name, url }) => ({
      name,
      shop: new Shop({ sidecarUrl: url, databaseUrl: stack.postgres }),
    })) as [Pod, ...Pod[]];
    this.#load = new Load({ pods: this.#pods, checker: this.#checker, random: seededRandom(options.seed) });
    this.#parts = new Parts(stack);
    const scale = Math.min(1, Math.max(0.1, (options.seconds ?? fullScaleSeconds) / fullScaleSeconds));
    this.#chaos = new Chaos({
      stack,
      parts: this.#parts,
      say: (text) => this.#say(text),
      l2Hits: () => this.#load.totals.reads.l2,
      signal: this.#end.signal,
      scale,
    });
  }

  onProcess(event: ProcessEvent): void {
    this.#parts.event(event);
    if (event.kind === 'exit' && event.willRestart)
      this.#say(`${titleOf(event.name)} ended with ${describeExit(event.exit)}; it is started again`);
  }

  /** Runs until one of: it was asked to end, the time is over, q was pressed. Answers the exit code. */
  async until(asked: Promise<unknown>): Promise<number> {
    const { seconds, plain } = this.#options;
    const ended = Promise.withResolvers<void>();
    const terminal = plain ? undefined : new Terminal();
    const timers = [
      setInterval(() => this.#look(), lookMs),
      setInterval(() => this.#show(terminal), plain ? plainMs : drawMs),
      ...(seconds === undefined ? [] : [setTimeout(ended.resolve, seconds * 1000)]),
    ];
    terminal?.open((key) => this.#press(key, ended.resolve));
    let elapsedMs = 0;
    try {
      const work = Promise.all(this.#work());
      await Promise.race([asked, ended.promise, work]);
      elapsedMs = performance.now() - this.#startedAtMs;
      this.#end.abort();
      await work;
    } finally {
      for (const timer of timers) clearTimeout(timer);
      terminal?.close();
    }
    await Promise.all(this.#pods.map(({ shop }) => shop.close()));
    return this.#summarize(elapsedMs);
  }

  #work(): Promise<void>[] {
    const { readsPerSecond, writesPerSecond, chaos, seed } = this.#options;
    const { signal } = this.#end;
    const many = (loops: number, perSecond: number, work: () => Promise<void>): Promise<void>[] =>
      Array.from({ length: loops }, () => pace(perSecond / loops, signal, work));
    const measured = (ms: number): void => {
      const now = performance.now();
      this.#evicted.add(now, ms);
      const inTrouble = this.#chaos.active || this.#parts.list().some(({ state }) => state !== 'up');
      (inTrouble ? this.#evictedInTrouble : this.#evictedInPeace).add(now, ms);
    };
    return [
      ...this.#pods.flatMap((pod) => many(readersPerPod, readsPerSecond / sidecars, () => this.#load.read(pod))),
      ...many(writers, writesPerSecond, () => this.#load.write()),
      probe({ pods: this.#pods, load: this.#load, checker: this.#checker, measured }, signal),
      this.#parts.watch(signal),
      ...(chaos ? [this.#chaos.causeAll(seededRandom(seed))] : []),
    ];
  }

  #press(key: string, end: () => void): void {
    if (key === 'q' || key === '\u0003') end();
    const failure = failures.find((name) => name === key);
    if (failure !== undefined) void this.#chaos.cause(failure);
  }

  /** Looks what has changed, and says it. */
  #look(): void {
    const now = performance.now();
    this.#lastSecond.note(now, this.#load.totals);
    const news = [
      ...this.#watcher.parts(now, this.#parts.list()),
      ...this.#watcher.hitRatio(now, hitRatio(this.#lastSecond.perSecond().reads)),
    ];
    for (const text of news) this.#say(text);
  }

  #say(text: string): void {
    if (this.#end.signal.aborted) return;
    const event = { clock: new Date().toTimeString().slice(0, 8), text };
    this.#events.push(event);
    if (this.#events.length > keptEvents) this.#events.shift();
    if (this.#options.plain) process.stdout.write(`        ${event.clock}  ${event.text}\n`);
  }

  #show(terminal: Terminal | undefined): void {
    this.#smooth.note(performance.now(), this.#load.totals);
    const picture = this.#picture();
    if (terminal === undefined) process.stdout.write(`${plainLine(picture)}\n`);
    else terminal.draw(draw(picture, terminal.screen, paint));
  }

  #picture(): Picture {
    const now = performance.now();
    return {
      elapsedMs: now - this.#startedAtMs,
      perSecond: this.#smooth.perSecond(),
      evicted: this.#evicted.since(now - evictedSpanMs),
      lags: this.#parts.lags(now),
      checked: this.#checker.checked,
      stale: this.#checker.stale,
      parts: this.#parts.list(),
      events: this.#events,
    };
  }

  #summarize(elapsedMs: number): number {
    this.#checker.finish();
    const { checked, stale, offences } = this.#checker;
    const lines = summaryLines({
      elapsedMs,
      totals: this.#load.totals,
      evicted: this.#evictedInPeace.since(),
      evictedInTrouble: this.#evictedInTrouble.since(),
      checked,
      stale,
      staleReads: offences.map(describeStaleRead),
    });
    process.stdout.write(`${lines.join('\n')}\n`);
    if (checked === 0) toStderr('the caches served nothing in this time, so nothing could be checked.');
    return stale === 0 && checked > 0 ? 0 : 1;
  }
}
