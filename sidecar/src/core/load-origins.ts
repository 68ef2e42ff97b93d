import type { KeyPattern } from '@tidemark/proto';
import type { Breaker } from './breaker.ts';
import type { Clock, Loaded, Loader, LoadFailure, LoadRequest } from './ports.ts';

/** How loads end. */
export type LoadResult = 'value' | 'absent' | LoadFailure['why'];

/** How the loads of a namespace have ended since the start. */
export type LoadCounts = Partial<Record<LoadResult, number>>;

/** Origins of a namespace, and what becomes of their loads. */
export interface OriginsOptions {
  readonly origins: readonly { readonly pattern: KeyPattern; readonly origin: Breaker }[];
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** Goes on with what another configuration counted. */
  readonly counts: LoadCounts;
  readonly onLoad: (ms: number) => void;
}

/** Asks the first origin whose shape of keys a key has. */
export class Origins implements Loader {
  readonly #options: OriginsOptions;

  constructor(options: OriginsOptions) {
    this.#options = options;
  }

  get counts(): LoadCounts {
    return this.#options.counts;
  }

  /** Origins that are not asked, or by a single load only, because they failed. */
  get broken(): number {
    return this.#options.origins.filter(({ origin }) => origin.state !== 'closed').length;
  }

  handles(key: string): boolean {
    return this.#options.origins.some(({ pattern }) => pattern.match(key) !== undefined);
  }

  async load(request: LoadRequest): Promise<Loaded> {
    const { counts, clock, onLoad } = this.#options;
    const beganMs = clock.monotonicMs();
    const loaded = await this.#ask(request);
    onLoad(clock.monotonicMs() - beganMs);
    const result = loaded.kind === 'failed' ? loaded.why : loaded.kind;
    counts[result] = (counts[result] ?? 0) + 1;
    return loaded;
  }

  #ask({ key, headers, address, atLeast, isPassed = false }: LoadRequest): Promise<Loaded> {
    for (const { pattern, origin } of this.#options.origins) {
      const values = pattern.match(key);
      if (values === undefined) continue;
      const named = Object.entries(headers).map(([name, value]) => [`header.${name}`, value] as const);
      return origin.load({ address, values: new Map([...values, ...named]), atLeast, isPassed });
    }
    return Promise.resolve({ kind: 'failed', why: 'error', detail: 'no loader is for keys of this shape' });
  }
}
