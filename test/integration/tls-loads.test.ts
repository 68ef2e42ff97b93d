import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  createStack,
  makeAuthority,
  startPostgres,
  type Authority,
  type PostgresServer,
  type Stack,
} from '../kit/index.ts';
import { sharedServers } from '../kit/shared.ts';
import { App } from './support/app.ts';
import { eventually } from './support/eventually.ts';
import { cacheable, showLogsOnFailure } from './support/stack.ts';

// A Postgres and an endpoint that values are loaded from, under an authority of their own that no URL names (chart: sidecar.caBundle).

let authority: Authority;
let stranger: Authority;
let postgres: PostgresServer;
let endpoint: Server;
let stack: Stack;

beforeAll(async () => {
  [authority, stranger] = [await makeAuthority('the company'), await makeAuthority('somebody else')];
  const { certFile, keyFile } = await authority.issue('server');
  postgres = await startPostgres({
    fsync: false,
    flags: { ssl: 'on', ssl_cert_file: certFile, ssl_key_file: keyFile },
  });
  const files = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
  endpoint = createServer(files, (_, answer) => void answer.end('a page'));
  await new Promise<void>((resolve) => void endpoint.listen(0, '127.0.0.1', resolve));
  const url = `https://127.0.0.1:${(endpoint.address() as AddressInfo).port}/{key}`;
  const common = { source: 'main', invalidate: [{ table: 'public.users', keys: ['{id}'] }] };
  stack = await createStack(
    { ...sharedServers(), postgres },
    {
      redis: false,
      env: { sidecar: { NODE_EXTRA_CA_CERTS: authority.caFile } },
      initSql: "create table users (id int primary key, name text); insert into users values (1, 'a row')",
      config: {
        namespaces: {
          rows: { ...common, load: { sql: 'select name from users where id = $1::int' } },
          pages: { ...common, load: { http: { url } } },
        },
      },
    },
  );
  await cacheable(stack);
});

afterAll(async () => {
  await stack?.stop();
  endpoint?.close();
  await postgres?.stop();
  for (const each of [authority, stranger]) await each?.remove();
});

it('what is loaded comes by TLS, from those whom the bundle of NODE_EXTRA_CA_CERTS says to trust, and from nobody else', async () => {
  showLogsOnFailure(stack);
  const TIDEMARK_LOAD_URL = `${stack.postgres}?sslmode=verify-full`;
  const [trusting, other] = [
    await stack.addSidecar({ TIDEMARK_LOAD_URL }),
    await stack.addSidecar({ TIDEMARK_LOAD_URL, NODE_EXTRA_CA_CERTS: stranger.caFile }),
  ];
  for (const [namespace, body] of [
    ['rows', 'a row'],
    ['pages', 'a page'],
  ] as const) {
    const app = new App(trusting.url);
    await eventually(async () => expect(await app.get(namespace, '1')).toMatchObject({ status: 200, body }));
    await eventually(async () => {
      const refused = await new App(other.url).get(namespace, '1');
      expect(refused.status).toBeGreaterThanOrEqual(500);
      expect(refused.body).toContain('certificate');
    });
  }
  const sql = "select ssl from pg_stat_activity join pg_stat_ssl using (pid) where application_name like '% sidecar %'";
  // Connections without work are closed after a while.
  await eventually(async () => {
    await new App(trusting.url).get('rows', '1', { 'cache-control': 'no-cache' });
    expect(await stack.sql(sql)).toContainEqual({ ssl: true });
  });
});
