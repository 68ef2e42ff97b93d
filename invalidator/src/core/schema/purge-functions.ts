import { PURGE_LIMITS, PURGE_PREFIX } from '@tidemark/proto';

/**
 * Purges from SQL, as a part of whatever transaction calls them (SPEC I11). They run with the rights of the caller, which needs none:
 * everybody may call pg_logical_emit_message, and these only check what is asked for, because a message that cannot be understood
 * purges everything. The text is sent as UTF-8 whatever the encoding of the database.
 */
export const PURGE_FUNCTIONS_SQL = `create or replace function tidemark.purge(
  namespace text,
  keys text[] default null,
  tags text[] default null,
  prefixes text[] default null,
  everything boolean default false
) returns pg_lsn language plpgsql volatile security invoker set search_path = pg_catalog as $function$
declare
  found_names int := coalesce(cardinality(keys), 0) + coalesce(cardinality(tags), 0) + coalesce(cardinality(prefixes), 0);
  label text;
  names text[];
  place bigint;
  name text;
begin
  everything := coalesce(everything, false);
  if namespace is null or namespace !~ '^[a-z0-9][a-z0-9._-]{0,62}$' then
    raise exception 'tidemark.purge: found namespace %, expected a name such as user-profile', quote_nullable(left(namespace, 80))
      using errcode = 'invalid_parameter_value',
        detail = 'Names have 1 to 63 of a-z, 0-9, ".", "_" and "-", and begin with a letter or a digit.';
  end if;
  if keys is null and tags is null and prefixes is null and not everything then
    raise exception 'tidemark.purge: found no keys, tags or prefixes, expected some, or everything => true'
      using errcode = 'invalid_parameter_value',
        hint = $hint$Where there may be none, write coalesce(array_agg(...), '{}'): an empty list purges nothing.$hint$;
  end if;
  if found_names > ${PURGE_LIMITS.names} then
    raise exception 'tidemark.purge: found % names, expected at most ${PURGE_LIMITS.names} in one call', found_names
      using errcode = 'program_limit_exceeded',
        hint = 'Call it several times, or purge the namespace: tidemark.purge_namespace(...).';
  end if;
  for label, names in select * from (values ('keys', keys), ('tags', tags), ('prefixes', prefixes)) as given (label, names) loop
    if array_ndims(names) > 1 then
      raise exception 'tidemark.purge: found % dimensions of %, expected a plain list', array_ndims(names), label
        using errcode = 'array_subscript_error';
    end if;
    select one.place, one.name into place, name from unnest(names) with ordinality as one (name, place)
     where one.name is null or octet_length(convert_to(one.name, 'UTF8')) not between 1 and ${PURGE_LIMITS.nameBytes} limit 1;
    if found then
      raise exception 'tidemark.purge: found %[%] = %, expected 1 to ${PURGE_LIMITS.nameBytes} bytes of UTF-8', label, place,
        case when length(name) > 80 then quote_literal(left(name, 80)) || '... of ' || octet_length(name) || ' bytes'
             else quote_nullable(name) end
        using errcode = 'invalid_parameter_value',
          hint = case when name = '' and label = 'prefixes' then 'Every key: tidemark.purge_namespace(...).' else '' end;
    end if;
  end loop;
  if current_setting('wal_level') <> 'logical' then
    raise exception 'tidemark.purge: found wal_level = %, expected logical: nobody would hear of the purge', current_setting('wal_level')
      using errcode = 'object_not_in_prerequisite_state';
  end if;
  if found_names = 0 and not everything then
    return null;
  end if;
  return pg_logical_emit_message(true, '${PURGE_PREFIX}', convert_to(json_build_object('purge', json_build_array(json_strip_nulls(
    json_build_object(
      'namespace', namespace,
      'keys', coalesce(to_json(keys), '[]'),
      'tags', coalesce(to_json(tags), '[]'),
      'prefixes', case when cardinality(prefixes) > 0 then to_json(prefixes) end,
      'all', everything))))::text, 'UTF8'));
end
$function$;

comment on function tidemark.purge(text, text[], text[], text[], boolean) is
  'Purges names of a Tidemark namespace when the transaction commits. Answers where the message lies in the WAL; NULL for empty lists.';

create or replace function tidemark.purge_keys(namespace text, variadic keys text[]) returns pg_lsn language sql volatile as
  $function$ select tidemark.purge(namespace, keys => coalesce(keys, '{}')) $function$;

create or replace function tidemark.purge_tags(namespace text, variadic tags text[]) returns pg_lsn language sql volatile as
  $function$ select tidemark.purge(namespace, tags => coalesce(tags, '{}')) $function$;

create or replace function tidemark.purge_prefixes(namespace text, variadic prefixes text[]) returns pg_lsn language sql volatile as
  $function$ select tidemark.purge(namespace, prefixes => coalesce(prefixes, '{}')) $function$;

create or replace function tidemark.purge_namespace(namespace text) returns pg_lsn language sql volatile as
  $function$ select tidemark.purge(namespace, everything => true) $function$;

grant execute on function
  tidemark.purge(text, text[], text[], text[], boolean), tidemark.purge_keys(text, text[]), tidemark.purge_tags(text, text[]),
  tidemark.purge_prefixes(text, text[]), tidemark.purge_namespace(text) to public;
`;
