import { parseConfig, type SqlLoaderConfig } from '@tidemark/proto';
import { SqlLoader } from '../../../sidecar/src/adapters/sql-loader.ts';
import { PostgresPool } from '../../../sidecar/src/adapters/sql-pool.ts';
import type { Loaded } from '../../../sidecar/src/core/ports.ts';
import type { ServerIdentity } from '../../../sidecar/src/core/server-identity.ts';
import { withPostgres } from '../../kit/names.ts';

/** Connections of a role that may no more than read some tables, which is all that a loader needs. */
export function readerPool(url: string): PostgresPool {
  const at = new URL(url);
  at.username = 'reader';
  at.password = 'reader';
  return new PostgresPool({ url: at.href, applicationName: 'loader', most: 2, mostWaiting: 10 });
}

/** Who a server is, as the stream would tell. */
export async function identityOf(url: string): Promise<ServerIdentity> {
  const sql = 'select system_identifier::text as id from pg_control_system()';
  const [row] = await withPostgres(url, async (client) => (await client.query<{ id: string }>(sql)).rows);
  return { systemId: BigInt(row?.id ?? 0), timeline: 1 };
}

/** The time of a load for which a test has none of its own, so long that a busy machine does not matter beside it. */
const PATIENT_MS = 60_000;

/** A loader as a namespace with `load` has it, but patient where that says no `timeout`. */
export function sqlLoader(
  load: object,
  options: { pool: PostgresPool; followed: () => ServerIdentity; maxBytes?: number },
): SqlLoader {
  const parsed = parseConfig({
    sources: { main: { topic: 't' } },
    namespaces: { n: { source: 'main', invalidate: [{ table: 'public.t', keys: ['{id}'] }], load } },
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  const config = parsed.config.namespaces['n']?.load?.[0] as SqlLoaderConfig;
  const { pool, followed, maxBytes = 1024 } = options;
  const timeoutMs = 'timeout' in load ? config.timeout : PATIENT_MS;
  return new SqlLoader({ config, pool, timeoutMs, maxBytes, followed });
}

export const loadBy = (loader: SqlLoader, key: string, atLeast?: number): Promise<Loaded> =>
  loader.load({ address: key, values: new Map([['key', key]]), atLeast });

export const textOf = (loaded: Loaded): string =>
  loaded.kind === 'value' ? Buffer.from(loaded.body).toString() : loaded.kind;
