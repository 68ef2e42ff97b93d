import { parsePurge, type PurgeRequest } from '@tidemark/proto';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { emitPurge } from '../../invalidator/src/adapters/postgres-purge.ts';
import { migrate } from '../../invalidator/src/adapters/postgres-schema.ts';
import { decodeMessage } from '../../invalidator/src/core/pgoutput.ts';
import { startPostgres, type PostgresServer } from '../kit/index.ts';

// What is written into the WAL is bytes, in the encoding of the database; what is read there is UTF-8.

let postgres: PostgresServer;
let client: pg.Client;
beforeAll(async () => {
  postgres = await startPostgres();
  const first = new pg.Client({ connectionString: postgres.url });
  await first.connect();
  await first.query("create database latin encoding 'LATIN1' locale 'C' template template0");
  await first.end();
  const url = new URL(postgres.url);
  url.pathname = '/latin';
  client = new pg.Client({ connectionString: url.href });
  await client.connect();
  await client.query('create publication p');
  await client.query("select pg_create_logical_replication_slot('s', 'pgoutput')");
  await migrate(client, { waitMs: 60_000 });
});
afterAll(async () => {
  await client?.end();
  await postgres?.stop();
});

/** The purges that a publisher would read. */
async function written(): Promise<(PurgeRequest | undefined)[]> {
  const { rows } = await client.query<{ data: Buffer }>(
    `select data from pg_logical_slot_get_binary_changes('s', null, null, 'proto_version', '1', 'publication_names', 'p', 'messages', 'true')`,
  );
  const messages = rows.map(({ data }) => decodeMessage(data)).filter(({ kind }) => kind === 'message');
  return messages.map((message) =>
    message.kind === 'message' ? parsePurge(message.content.toString('utf8')) : undefined,
  );
}

const purgeOf = (...keys: string[]): PurgeRequest => ({ purge: [{ namespace: 'users', keys, tags: [], all: false }] });

it.each([170_000, 140_000])(
  '[I11] a purge over HTTP names what it is for, whatever the encoding: as on %i',
  async (version) => {
    const purge = purgeOf('Zoë', 'a"b\\c', '€', '😀');
    await emitPurge(client, purge, version);
    expect(await written()).toEqual([purge]);
  },
);

it('[I11] a purge by SQL likewise', async () => {
  await client.query("select tidemark.purge_keys('users', 'Zoë', 'a\"b\\c')");
  expect(await written()).toEqual([purgeOf('Zoë', 'a"b\\c')]);
});
