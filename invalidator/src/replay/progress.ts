import type { Replay } from '../core/replay/engine.ts';
import { formatPosition } from '../core/replay/range.ts';
import type { RecordStream } from '../core/replay/ports.ts';

/** On a terminal the line is written anew this often, ms. */
const TERMINAL_EVERY_MS = 500;
/** Elsewhere lines come this often, ms. */
const LINE_EVERY_MS = 5_000;

/** Tells on standard error how far a replay has come, from when it takes long. */
export class Progress {
  readonly #replay: Pick<Replay, 'counts' | 'state'>;
  readonly #stream: RecordStream;
  readonly #startedAt = performance.now();
  readonly #firstChanges: number;
  readonly #firstRecords: number;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #isTerminal = process.stderr.isTTY;
  #hasLine = false;

  constructor(options: {
    readonly replay: Pick<Replay, 'counts' | 'state'>;
    readonly stream: RecordStream;
    readonly isQuiet: boolean;
  }) {
    this.#replay = options.replay;
    this.#stream = options.stream;
    this.#firstChanges = options.replay.counts.changes;
    this.#firstRecords = options.replay.counts.records;
    if (options.isQuiet) return;
    this.#timer = setInterval(() => this.#show(), this.#isTerminal ? TERMINAL_EVERY_MS : LINE_EVERY_MS);
  }

  /** Seconds since the beginning, and what was done in them. */
  rates(): { readonly seconds: number; readonly changesPerSecond: number } {
    const seconds = (performance.now() - this.#startedAt) / 1000;
    const changes = this.#replay.counts.changes - this.#firstChanges;
    return { seconds, changesPerSecond: Math.round(changes / Math.max(seconds, 0.001)) };
  }

  stop(): void {
    clearInterval(this.#timer);
    if (this.#hasLine) process.stderr.write('\r\x1b[K');
    this.#hasLine = false;
  }

  #show(): void {
    const text = this.line();
    process.stderr.write(this.#isTerminal ? `\r\x1b[K${text}` : `${text}\n`);
    this.#hasLine = this.#isTerminal;
  }

  /** Such as `1,234 records, 500,000 changes/s, at 1:0/16B3748, 42 %, 3 s left`. */
  line(): string {
    const { seconds, changesPerSecond } = this.rates();
    const { counts, state } = this.#replay;
    const { done, total } = this.#stream.progress();
    const parts = [
      `${(counts.records - this.#firstRecords).toLocaleString('en')} records`,
      `${changesPerSecond.toLocaleString('en')} changes/s`,
    ];
    if (state.position !== undefined)
      parts.push(`at ${formatPosition({ epoch: state.position.epoch, lsn: state.position.applied })}`);
    if (total !== undefined && total > 0) {
      parts.push(`${Math.floor((100 * done) / total)} %`);
      if (done > 0) parts.push(`${duration((seconds * (total - done)) / done)} left`);
    }
    return parts.join(', ');
  }
}

function duration(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
