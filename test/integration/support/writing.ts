import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import pg from 'pg';
import type { Stack, StackOptions } from '../../kit/index.ts';

/** An application's endpoint that writes a note, and leaves the mark in its transaction where the key begins with `marked`. */
export async function startEndpoint(stack: () => Stack): Promise<{ readonly url: string; readonly server: Server }> {
  const server = createServer((request, response) => {
    void (async () => {
      const key = decodeURIComponent(request.url?.split('/').at(-1) ?? '');
      const client = new pg.Client({ connectionString: stack().postgres });
      await client.connect();
      await client.query('begin');
      const set = 'on conflict (id) do update set note = excluded.note';
      await client.query(`insert into notes (id, note) values ($1, $2) ${set}`, [key, await text(request)]);
      const mark = key.startsWith('marked') ? request.headers['tidemark-write'] : undefined;
      if (mark !== undefined) await client.query("select pg_logical_emit_message(true, 'tidemark.mark', $1)", [mark]);
      await client.query('commit');
      await client.end();
      response.writeHead(204).end();
    })();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** As long as the configuration allows: what a write does is tested, and not how fast the machine is. */
const timeout = '30s';

const rule = (table: string, ...keys: string[]) => ({ table: `public.${table}`, keys });

/** Namespaces of every kind that can be written. */
export const writingOptions = (endpointUrl: string): StackOptions => ({
  sidecars: 2,
  initSql: `
    create table users (id text primary key, doc jsonb not null, email text unique, born date);
    create table notes (id text primary key, note text not null, who text);
    create table files (id text primary key, content bytea not null, type text not null, tags text[] not null);
    create table accounts (id text primary key, name text not null, hidden text);
    create table orders (id int primary key, account text not null, amount int not null);
    alter table orders replica identity full;
    create function refuse() returns trigger language plpgsql as $$ begin
      if new.note = 'refuse' then raise exception 'notes may not say that'; end if;
      if new.note = 'later' then raise exception 'not even later' using errcode = '23514'; end if;
      return new; end $$;
    create trigger refuse before insert or update on notes for each row when (new.note = 'refuse') execute function refuse();
    create constraint trigger later after insert or update on notes deferrable initially deferred
      for each row when (new.note = 'later') execute function refuse()`,
  config: {
    namespaces: {
      users: {
        source: 'main',
        invalidate: [rule('users', '{id}')],
        writeThrough: {
          put: {
            sql: `insert into users (id, doc, email, born) values ($1, $2, $2::jsonb ->> 'email', ($2::jsonb ->> 'born')::date)
                  on conflict (id) do update set doc = excluded.doc, email = excluded.email returning xmax = 0 as created`,
          },
          delete: { sql: 'delete from users where id = $1' },
          timeout,
        },
      },
      notes: {
        source: 'main',
        invalidate: [rule('notes', 'note:{id}')],
        writeThrough: {
          key: 'note:{id}',
          put: {
            sql: 'insert into notes values ($1, $2, $3) on conflict (id) do update set note = excluded.note',
            params: ['{id}', '{body}', '{header.x-user}'],
          },
          timeout,
        },
      },
      hasty: {
        source: 'main',
        invalidate: [rule('notes', '{id}')],
        writeThrough: { put: { sql: 'update notes set note = $2 where id = $1' }, timeout: '500ms' },
      },
      renamed: {
        source: 'main',
        invalidate: [rule('notes', '{id}')],
        writeThrough: { put: { sql: 'update notes set note = $2 where id = $1' }, cache: 'nothing', timeout },
      },
      remote: {
        source: 'main',
        invalidate: [rule('notes', '{id}')],
        writeThrough: { put: { http: { url: `${endpointUrl}/notes/{key}` } }, timeout },
      },
      files: {
        source: 'main',
        invalidate: [{ table: 'public.files', tags: ['file:{id}'] }],
        writeThrough: {
          put: {
            sql: `insert into files values ($1, $2, $3, $4)
                  on conflict (id) do update set content = excluded.content, type = excluded.type, tags = excluded.tags`,
            params: ['{key}', '{bytes}', '{contentType}', '{tags}'],
          },
          timeout,
        },
      },
      accounts: {
        source: 'main',
        invalidate: [rule('accounts', '{id}'), rule('orders', '{account}')],
        load: {
          sql: `select a.id, a.name, (select coalesce(sum(o.amount), 0) from orders o where o.account = a.id) as total
                from accounts a where a.id = $1`,
          timeout: '10s',
        },
        writeThrough: {
          put: {
            sql: 'insert into accounts (id, name) values ($1, $2) on conflict (id) do update set name = excluded.name',
          },
          delete: { sql: 'delete from accounts where id = $1' },
          timeout,
        },
      },
    },
  },
  env: {
    sidecar: ({ postgres }) => ({
      TIDEMARK_WRITE_URL: postgres,
      TIDEMARK_LOAD_URL: postgres,
      TIDEMARK_SESSION_TIMEOUT: '2s',
      TIDEMARK_MAX_STALENESS: '1m',
    }),
  },
});
