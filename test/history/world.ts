import type { Document } from './configuration.ts';

// What the histories are about: rows that carry a version, which every change raises, and the timeline of the server that
// changed them. Values show both, so that whoever is served one can tell what is in it.

export const items = 60;
export const shelves = 10;
export const docs = 20;
/** The item that tells whether everything works again; no reader asks for it, no writer but the probe changes it. */
export const probeItem = 0;
const probeShelf = 0;

/** Larger than what L1 holds of them, so that Redis is asked often. */
export const padding = 'x'.repeat(2_000);

export const initSql = `
create function timeline() returns int language sql as
  $$ select ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int $$;

create table items (
  id       int primary key,
  shelf    int not null,
  version  int not null default 1,
  timeline int not null default 1
);
create index on items (shelf, id);
alter table items replica identity full; -- a move to another shelf must evict the old one
insert into items select n, 1 + n % ${shelves} from generate_series(1, ${items}) n;
insert into items values (${probeItem}, ${probeShelf});

-- In no rule: only purges keep what is cached of them true.
create table docs (id int primary key, version int not null default 1, timeline int not null default 1);
insert into docs select n from generate_series(1, ${docs}) n;
create table doc_rules (id int primary key);
`;

const config = {
  sources: { main: { topic: 'tidemark.main' } },
  namespaces: {
    item: { source: 'main', l1: { maxBytes: '64KiB' }, invalidate: [{ table: 'public.items', keys: ['{id}'] }] },
    // What applications load of `item`, the sidecars load themselves of this one; it is refreshed early, and old values are kept.
    fetched: {
      source: 'main',
      ttl: { soft: '2s', hard: '1m', staleIfError: '1m' },
      l1: { maxBytes: '64KiB' },
      onInvalidate: 'stale',
      grace: { for: '30s', serve: 'on-error' },
      load: {
        sql: `select id, version, timeline, repeat('x', ${padding.length}) as padding from items where id = $1::int`,
        timeout: '1s',
      },
      invalidate: [{ table: 'public.items', keys: ['{id}'] }],
    },
    shelf: { source: 'main', invalidate: [{ table: 'public.items', tags: ['shelf:{shelf}'] }] },
    doc: { source: 'main', invalidate: [{ table: 'public.doc_rules', keys: ['{id}'] }] },
  },
} as const;

/** With a wrong rule nobody evicts an item that changes, and a checker that is worth anything says so. */
export function configOf(options: { readonly wrongRule: boolean }): Document {
  if (!options.wrongRule) return config;
  const { namespaces } = config;
  const item = { ...namespaces.item, invalidate: [{ table: 'public.doc_rules', keys: ['{id}'] }] };
  return { ...config, namespaces: { ...namespaces, item } };
}
