import { Client, type ClientConfig } from 'pg';
import { expectServer, SERVER_MARK, type MarkRow } from '../core/server-mark.ts';
import { widenXid } from '../core/xid.ts';

/** Which of some transactions new snapshots do not see, asked on a connection of its own so that nothing delays it. */
export interface VisibilityProbe {
  /** Those of the ids (32 bits, as the stream has them) that a snapshot taken now does not see. */
  stillUnseen(xids: readonly number[]): Promise<ReadonlySet<number>>;
  close(): Promise<void>;
}

const QUERY = `
  select pg_snapshot_xmax(s)::text as xmax,
         array(select n from unnest($1::text[]) with ordinality as t(x, n) where not pg_visible_in_snapshot(x::xid8, s))::int[] as unseen
    from (select pg_current_snapshot() as s) as now`;

/**
 * Connects to the server with this mark; rejects with the server's error, and when another one answers: ids mean other
 * transactions there. `onFailure` is called at most once, when the connection is lost.
 */
export async function openVisibilityProbe(options: {
  readonly connection: ClientConfig;
  readonly mark: string;
  readonly onFailure: (error: Error) => void;
}): Promise<VisibilityProbe> {
  const client = new Client(options.connection);
  client.on('error', options.onFailure);
  await client.connect();
  try {
    expectServer((await client.query<MarkRow>(SERVER_MARK)).rows, options.mark);
  } catch (error) {
    await client.end();
    throw error;
  }
  let recent = 0n;
  const ask = async (xids: readonly string[]): Promise<readonly number[]> => {
    const { rows } = await client.query<{ xmax: string; unseen: number[] }>({
      name: 'visible',
      text: QUERY,
      values: [xids],
    });
    recent = BigInt(rows[0]?.xmax ?? 0);
    return rows[0]?.unseen ?? [];
  };
  await ask([]);
  return {
    async stillUnseen(xids) {
      const unseen = await ask(xids.map((xid) => widenXid(xid, recent).toString()));
      return new Set(unseen.map((place) => xids[place - 1] as number));
    },
    close: () => client.end(),
  };
}
