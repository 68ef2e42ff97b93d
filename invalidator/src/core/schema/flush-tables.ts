/** What `tidemark flush` keeps in Postgres: how far it is, which sidecars ask for, when it was where, and writes that Postgres refuses. */
export const FLUSH_TABLES_SQL = `create schema if not exists tidemark;
create table if not exists tidemark.flush_progress (
  topic text not null, partition int not null, next_offset bigint not null, flushed_at timestamptz not null default now(),
  primary key (topic, partition));
create table if not exists tidemark.flush_places (
  topic text not null, partition int not null, next_offset bigint not null, reached_at timestamptz not null default now(),
  primary key (topic, partition, next_offset));
create table if not exists tidemark.parked_writes (
  id bigint generated always as identity primary key, topic text not null, partition int not null, "offset" bigint not null,
  namespace text, key text, kind text, written_at timestamptz, code text, error text not null,
  record bytea not null, retry boolean not null default false, parked_at timestamptz not null default now(),
  unique (topic, partition, "offset"));
grant usage on schema tidemark to public;
grant select on tidemark.flush_progress to public;`;
