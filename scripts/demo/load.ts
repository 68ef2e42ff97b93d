import type { CategoryPage, Read, Shop, Written } from './app.ts';
import type { Checker, SeenRow } from '../../test/history/checker.ts';
import { below, pick, type Random, zipf } from '../../test/history/random.ts';
import type { Layer, Totals } from './stats.ts';

/** As in shop.sql. */
const products = 500;
const customers = 300;
const categories = 20;
const currencies = ['EUR', 'GBP', 'USD'] as const;
/** Products that writers add; readers ask for the next one before it is there. */
const maxLaunches = 500;

/** A copy of the application, under the name of its sidecar. */
export interface Pod {
  readonly name: string;
  readonly shop: Shop;
}

interface LoadOptions {
  readonly pods: readonly [Pod, ...Pod[]];
  readonly checker: Checker;
  readonly random: Random;
}

/** What customers and staff do with the shop. Each call does one thing, notes it in the totals and shows it to the checker. */
export class Load {
  readonly #reads: Record<Layer, number> = { l1: 0, l2: 0, postgres: 0 };
  #writes = 0;
  /** Reads and writes that Postgres failed. */
  #failed = 0;
  #launched = 0;
  readonly #options: LoadOptions;
  readonly #popular: () => number;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#popular = zipf(options.random, products);
  }

  get totals(): Totals {
    return { reads: { ...this.#reads }, writes: this.#writes };
  }

  get failed(): number {
    return this.#failed;
  }

  async read(pod: Pod): Promise<void> {
    const { random } = this.#options;
    const { shop } = pod;
    const kind = random();
    try {
      if (kind < 0.6) {
        const id = random() < 0.01 ? products + this.#launched + 1 : this.#popular() + 1;
        const read = await shop.product(id);
        this.#note(pod, `product/${id}`, read, [{ row: `products/${id}`, version: read.value?.version ?? 0 }]);
      } else if (kind < 0.85) {
        const [id, currency] = [this.#popular() + 1, pick(random, currencies)];
        const read = await shop.price(id, currency);
        this.#note(pod, `price/${id}:${currency}`, read, [
          { row: `prices/${id}:${currency}`, version: read.value?.version ?? 0 },
        ]);
      } else if (kind < 0.95) {
        const id = 1 + below(random, customers);
        const read = await shop.customer(id);
        this.#note(pod, `customer/${id}`, read, [{ row: `customers/${id}`, version: read.value?.version ?? 0 }]);
      } else {
        const category = this.#category();
        const read = await shop.categoryPage(category);
        this.#note(pod, `category-page/${category}`, read, rowsOf(read.value));
      }
    } catch {
      this.#failed += 1; // Postgres is away
    }
  }

  async write(): Promise<void> {
    const { pods, random } = this.#options;
    const { shop } = pick(random, pods);
    const product = this.#popular() + 1; // what sells is restocked and repriced
    const kind = random();
    if (kind < 0.3) await this.commit(() => shop.restock(product));
    else if (kind < 0.7)
      await this.commit(() => shop.reprice(product, pick(random, currencies), 100 + below(random, 9_000)));
    else if (kind < 0.95) await this.commit(() => shop.order(1 + below(random, customers), product));
    else if (kind < 0.995 || this.#launched >= maxLaunches)
      await this.commit(() => shop.move(product, this.#category()));
    else {
      this.#launched += 1;
      const id = products + this.#launched;
      await this.commit(() => shop.launch(id, this.#category()));
    }
  }

  /** Runs a transaction under the checker's eyes. Undefined where it failed. */
  async commit(transaction: () => Promise<Written>): Promise<Written | undefined> {
    const { checker } = this.#options;
    const ticket = checker.beginWrite();
    let written: Written | undefined;
    try {
      written = await transaction();
      this.#writes += 1;
    } catch {
      this.#failed += 1; // whether it was committed is not known
    }
    checker.endWrite(ticket, performance.now(), written);
    return written;
  }

  #category(): string {
    return `category-${below(this.#options.random, categories)}`;
  }

  #note({ name }: Pod, key: string, { from, lsn }: Read<unknown>, rows: readonly SeenRow[]): void {
    this.#reads[from] += 1;
    if (from !== 'postgres') this.#options.checker.served({ sidecar: name, key, lsn, rows });
  }
}

function rowsOf(page: CategoryPage | undefined): SeenRow[] {
  return (page?.products ?? []).map(({ id, version }) => ({ row: `products/${id}`, version }));
}
