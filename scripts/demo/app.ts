// The example application. Reads go through the cache; writes go to Postgres and nowhere else: nobody tells the cache.
import pg from 'pg';
import { CacheClient } from '../../test/history/cache-client.ts';
import { type Committed, type Statement, transaction } from '../../test/history/transaction.ts';

export interface Product {
  readonly id: number;
  readonly name: string;
  readonly category: string;
  readonly stock: number;
  readonly version: number;
}

export interface Price {
  readonly product_id: number;
  readonly currency: string;
  readonly cents: number;
  readonly version: number;
}

export interface CategoryPage {
  readonly category: string;
  readonly products: readonly Product[];
}

export interface Customer {
  readonly id: number;
  readonly name: string;
  readonly orders: number;
  readonly version: number;
}

/** A value, and who gave it. `lsn` is told of what a cache served. */
export interface Read<T> {
  readonly value: T | undefined;
  readonly from: 'l1' | 'l2' | 'postgres';
  readonly lsn: string;
}

/** A row that a transaction changed, by a name of the demo's own, with its new version. */
export interface ChangedRow {
  readonly row: string;
  readonly version: number;
}

export type Written = Committed<ChangedRow>;

const productRow = `returning 'products/' || id as row, version`;
const priceRow = `returning 'prices/' || product_id || ':' || currency as row, version`;
const customerRow = `returning 'customers/' || id as row, version`;

/** A pod of the shop: the application with the sidecar beside it. */
export class Shop {
  readonly cache: CacheClient;
  readonly #database: pg.Pool;

  constructor(options: { sidecarUrl: string; databaseUrl: string }) {
    this.cache = new CacheClient(options.sidecarUrl);
    this.#database = new pg.Pool({
      connectionString: options.databaseUrl,
      max: 8,
      connectionTimeoutMillis: 2_000,
      query_timeout: 5_000,
    });
    this.#database.on('error', () => undefined); // an idle connection that ends is replaced by the next query
  }

  product(id: number): Promise<Read<Product>> {
    return this.#read('product', `${id}`, () => this.loadProduct(id));
  }

  loadProduct(id: number): Promise<Product | undefined> {
    return this.#first<Product>('select * from products where id = $1', [id]);
  }

  price(id: number, currency: string): Promise<Read<Price>> {
    const sql = 'select * from prices where product_id = $1 and currency = $2';
    return this.#read('price', `${id}:${currency}`, () => this.#first<Price>(sql, [id, currency]));
  }

  customer(id: number): Promise<Read<Customer>> {
    const sql =
      'select *, (select count(*)::int from orders where customer_id = id) as orders from customers where id = $1';
    return this.#read('customer', `${id}`, () => this.#first<Customer>(sql, [id]));
  }

  categoryPage(category: string): Promise<Read<CategoryPage>> {
    const sql = 'select * from products where category = $1 order by id limit 12';
    const load = async () => ({ category, products: await this.#query<Product>(sql, [category]) });
    return this.#read('category-page', category, load, [`category:${category}`]);
  }

  /** Cache-aside: ask the sidecar; on a miss load the value and store it under the lease that the miss handed out. */
  async #read<T>(
    namespace: string,
    key: string,
    load: () => Promise<T | undefined>,
    tags: string[] = [],
  ): Promise<Read<T>> {
    const cached = await this.cache.get(namespace, key);
    if (cached.kind === 'hit') return { value: cached.value as T | undefined, from: cached.layer, lsn: cached.lsn };
    const value = await load();
    if (cached.kind === 'miss' && cached.lease !== undefined)
      await this.cache.put(namespace, key, { value, lease: cached.lease, tags });
    return { value, from: 'postgres', lsn: '' };
  }

  restock(id: number): Promise<Written> {
    return this.#write([
      `update products set stock = stock + 100, version = version + 1 where id = $1 ${productRow}`,
      id,
    ]);
  }

  move(id: number, category: string): Promise<Written> {
    return this.#write([
      `update products set category = $2, version = version + 1 where id = $1 ${productRow}`,
      id,
      category,
    ]);
  }

  launch(id: number, category: string): Promise<Written> {
    return this.#write([
      `insert into products values ($1, 'Product ' || $1::int, $2, 1000) ${productRow}`,
      id,
      category,
    ]);
  }

  reprice(id: number, currency: string, cents: number): Promise<Written> {
    const sql = `update prices set cents = $3, version = version + 1 where product_id = $1 and currency = $2 ${priceRow}`;
    return this.#write([sql, id, currency, cents]);
  }

  order(customer: number, product: number): Promise<Written> {
    return this.#write(
      [`update products set stock = stock - 1, version = version + 1 where id = $1 ${productRow}`, product],
      [`update customers set version = version + 1 where id = $1 ${customerRow}`, customer],
      ['insert into orders (customer_id, product_id) values ($1, $2)', customer, product],
    );
  }

  async close(): Promise<void> {
    this.cache.close();
    await this.#database.end();
  }

  async #query<Row extends pg.QueryResultRow>(sql: string, values: unknown[]): Promise<Row[]> {
    return (await this.#database.query<Row>(sql, values)).rows;
  }

  async #first<Row extends pg.QueryResultRow>(sql: string, values: unknown[]): Promise<Row | undefined> {
    return (await this.#query<Row>(sql, values))[0];
  }

  #write(...statements: Statement[]): Promise<Written> {
    return transaction<ChangedRow>(this.#database, statements);
  }
}
