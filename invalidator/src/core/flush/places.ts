/**
 * Notes how far the flusher is, a hundred times while writes are kept, and answers below which offset all have been in Postgres for that
 * long: Kafka may forget them. A database that went back (a failover that lost commits, a restored backup) is flushed again from what is
 * kept, and its notes went back with it. They are here and not in the flusher's memory, which may never live for so long.
 *
 * Parameters: topic, partition, how long writes are kept (ms). One row, `forgettable`; 0: nothing.
 */
export const NOTE_PLACE_SQL = `with now_at as (
    select next_offset from tidemark.flush_progress where topic = $1 and partition = $2),
  old as (
    select coalesce(max(next_offset), 0) as next_offset from tidemark.flush_places
     where topic = $1 and partition = $2 and reached_at <= now() - $3 * interval '1 ms'
       and next_offset <= (select next_offset from now_at)),
  gone as (
    delete from tidemark.flush_places
     where topic = $1 and partition = $2 and next_offset < (select next_offset from old)),
  noted as (
    insert into tidemark.flush_places (topic, partition, next_offset)
    select $1, $2, next_offset from now_at
     where not exists (select from tidemark.flush_places
                        where topic = $1 and partition = $2 and reached_at > now() - $3 * interval '1 ms' / 100)
    on conflict do nothing)
  select next_offset::text as forgettable from old`;
