import { formatLsn, parseLsn, type Lsn } from '@tidemark/proto';
import type { Client, ClientConfig, Connection } from 'pg';
import { LogicalReplicationService } from 'pg-logical-replication';
import type { ChangeStream, StreamHandlers } from '../core/ports.ts';
import { expectServer, SERVER_MARK, type MarkRow } from '../core/server-mark.ts';

/** What the library hands to its plugin but does not declare. */
type ReplicationClient = Client & { readonly connection: Connection; readonly processID: number };

/** The text of a value must not depend on settings of the server, the role or the database. */
const TEXT_FORMS = [
  "SET client_encoding = 'UTF8'",
  "SET datestyle = 'ISO, MDY'",
  "SET intervalstyle = 'postgres'",
  "SET timezone = 'UTC'",
  "SET bytea_output = 'hex'",
  'SET extra_float_digits = 1',
].join('; ');

/**
 * Opens the slot's stream where the slot stands. Rejects with the server's error when the slot cannot be started
 * (55006 in use, 42704 missing, 55000 lost).
 *
 * Of pg-logical-replication only the connection and the framing are used: its own decoder loses precision, its timer
 * acknowledges what was merely received (`timeoutSeconds: 0` turns it off; keepalives are then answered here), and its
 * flow control lets keepalives overtake data, so the socket itself is paused instead. An object lives for one
 * connection only, because a second subscription would begin at the last position that was received.
 */
export async function openChangeStream(options: {
  readonly connection: ClientConfig;
  readonly slot: string;
  readonly publication: string;
  /** The server that it must come from. */
  readonly mark: string;
  readonly handlers: StreamHandlers;
}): Promise<ChangeStream> {
  const { slot, publication, mark, handlers } = options;
  const service = new LogicalReplicationService(
    { ...options.connection, keepAlive: true },
    { acknowledge: { auto: false, timeoutSeconds: 0 } },
  );
  let client: ReplicationClient | undefined;
  let ended = false;
  let confirmed: Lsn = 0;

  const fail = (error: unknown): void => {
    if (ended) return;
    ended = true;
    service.stop().catch(() => undefined);
    client?.connection.stream.destroy();
    handlers.onFailure(error instanceof Error ? error : new Error(String(error)));
  };
  const reply = (ping: boolean): void => {
    // acknowledge() reports one more than it is given, but an end LSN is exclusive already.
    if (!ended && confirmed > 0) service.acknowledge(formatLsn(confirmed - 1), ping).catch(fail);
  };

  const plugin = {
    name: 'pgoutput',
    options: {},
    async start(replicationClient: Client): Promise<unknown> {
      client = replicationClient as ReplicationClient;
      expectServer((await client.query<MarkRow>(SERVER_MARK)).rows, mark);
      await client.query(TEXT_FORMS);
      const names = publication.replaceAll('"', '""').replaceAll("'", "''");
      return client.query(
        `START_REPLICATION SLOT "${slot}" LOGICAL 0/0 (proto_version '1', publication_names '"${names}"', messages 'true')`,
      );
    },
    // An exception in here would be an uncaught one: the library calls it from the socket's event.
    parse(bytes: Buffer): void {
      if (!ended) handlers.onMessage(bytes);
    },
  };
  service.on('heartbeat', (lsn, _timestamp, shouldRespond) => {
    if (ended) return;
    handlers.onKeepalive(parseLsn(lsn));
    if (shouldRespond) reply(false);
  });
  await new Promise<void>((resolve, reject) => {
    service.on('start', () => resolve());
    service.on('error', (error) => {
      reject(error);
      fail(error);
    });
    // Settles when the copy ends: with an error at a start that fails, else when the connection is lost.
    service.subscribe(plugin, slot, '0/0').then(
      () => {
        reject(new Error('the replication stream ended'));
        fail(new Error('the replication stream ended'));
      },
      (error: Error) => {
        reject(error);
        fail(error);
      },
    );
  });
  const { connection, processID } = client as unknown as ReplicationClient;
  return {
    backendPid: processID,
    pause: () => void connection.stream.pause(),
    resume: () => void connection.stream.resume(),
    confirm(position) {
      if (position > confirmed) confirmed = position;
      reply(false);
    },
    ping: () => reply(true),
    async close() {
      if (ended) return;
      ended = true;
      connection.stream.resume();
      await service.destroy();
    },
  };
}
