// `append` enters the register before it takes positions from the sequence. `feed_end` reads in the opposite order: the
// sequence, the register, the rows. docs/decisions has the proof that no event is lost between the two.
//
// These are the functions of the first migration, which never changes. Migration 4 has replaced how they read the sequence.

/** Finds the end of the feed. `{schema}` stands for the quoted name of the schema. */
export const feedEnd = `
-- The end of the feed: the last event at or before which nothing can be added any more.
create function {schema}.feed_end()
returns table (head bigint, head_event_id text, is_held boolean, is_replica boolean)
language plpgsql as $eventspine$
declare
  last bigint;
  horizon bigint;
  archived bigint;
begin
  is_replica := pg_is_in_recovery();
  select case when s.is_called then s.last_value else 0 end into last from {schema}.events_position_seq s;
  -- An entry ahead of the sequence's value was made after it was read, and holds nothing back.
  select least(last, min(last - r.behind)) into horizon
  from (
    select (last - l.objid::bigint) & 2147483647 as behind
    from pg_locks l
    where l.locktype = 'advisory' and l.objsubid = 2 and l.objid::bigint <= 2147483647
      and l.classid = '{schema}.events_position_seq'::regclass::oid
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
  ) r
  where r.behind < 2130706432;
  if is_replica then
    horizon := 9007199254740991;
  end if;
  is_held := horizon < last and not is_replica;
  select e.position, e.event_id into head, head_event_id
  from {schema}.events e where e.position <= horizon order by e.position desc limit 1;
  -- What was archived last may lie behind the last event that was not.
  select a.position into archived from {schema}.events_archive a
  where a.position <= horizon and a.position > coalesce(head, 0) order by a.position desc limit 1;
  if archived is not null then
    head := archived;
    head_event_id := null;
  end if;
  head := coalesce(head, 0);
  return next;
end $eventspine$;
`

/** Reads on near the end of the feed. */
export const feedNext = `
-- The end of the feed, and the events after a position if that is near the end: one round trip for a reader that follows.
-- The end comes in a row of its own, which is the first. The events are read by a statement with a snapshot of its own,
-- which is newer than the end; where the transaction keeps its first snapshot, none are read.
create function {schema}.feed_next(
  after bigint, size bigint, max_bytes bigint, correlations text[], types text[], tenants text[], aggregates text[]
)
returns table (
  "position" bigint, event_id text, aggregate_type text, aggregate_id text, aggregate_version integer, event_type text,
  event_version integer, tenant_id text, correlation_id text, causation_id text, actor_id text,
  occurred_at double precision, stored_at double precision, payload text, metadata text,
  head bigint, head_event_id text, is_held boolean, is_replica boolean, is_near boolean, after_event_id text
)
language plpgsql set plan_cache_mode = force_generic_plan as $eventspine$
#variable_conflict use_column
declare
  last bigint;
begin
  select f.head, f.head_event_id, f.is_held, f.is_replica into head, head_event_id, is_held, is_replica
  from {schema}.feed_end() f;
  last := head;
  is_near := last - after <= 100 and current_setting('transaction_isolation') = 'read committed';
  if is_near then
    select e.event_id into after_event_id from {schema}.events e where e.position = after;
  end if;
  return next;
  if is_near and last > after then
    return query
      select page.position, page.event_id, page.aggregate_type, page.aggregate_id, page.aggregate_version, page.event_type,
        page.event_version, page.tenant_id, page.correlation_id, page.causation_id, page.actor_id,
        date_part('epoch', page.occurred_at), date_part('epoch', page.stored_at), page.payload::text, page.metadata::text,
        null::bigint, null::text, null::boolean, null::boolean, null::boolean, null::text
      from (
        select near.*, sum(near.bytes) over (order by near.position rows unbounded preceding) - near.bytes as before
        from (
          select * from {schema}.events e
          where e.position > after and e.position <= last
            and (correlations is null or e.correlation_id = any (correlations))
            and (types is null or e.event_type = any (types))
            and (tenants is null or e.tenant_id = any (tenants))
            and (aggregates is null or e.aggregate_type = any (aggregates))
          order by e.position limit size
        ) near
      ) page
      where page.before < max_bytes order by page.position;
  end if;
end $eventspine$;
`

/** Registers a writer. */
export const enterRegister = `
-- Says that this transaction may still write behind the present end of the sequence, until it ends.
create function {schema}.enter_register(is_serialized boolean) returns void language plpgsql as $eventspine$
declare
  key constant integer := ('{schema}.events_position_seq'::regclass::oid::bigint << 32 >> 32)::integer;
  last bigint;
begin
  if is_serialized then
    perform pg_advisory_xact_lock(key, -1);
  end if;
  select case when s.is_called then s.last_value else 0 end into last from {schema}.events_position_seq s;
  perform pg_advisory_xact_lock_shared(key, (last & 2147483647)::integer);
end $eventspine$;
`

/** Appends to one stream. */
export const append = `
-- Appends to one stream, all or nothing. It never fails for a lost race, as that would abort the caller's transaction:
-- it returns a letter, the version that the stream had, and the position of the last event.
-- w written, c conflict, d deleted, k event ids that are there already, b busy, s older snapshot than the stream.
--
-- expected: a version, -1 for any, -2 for a stream that exists. A column of nulls may be null itself. stays_open: the
-- transaction goes on after this call, so that a setting remembers for the rest of it that it has entered the register.
-- The rows of unnest are inserted in its order, as there is only one way to scan it.
create function {schema}.append(
  stream_type text, stream_id text, expected integer,
  event_ids text[], event_types text[], event_versions integer[], tenants text[], correlations text[],
  causations text[], actors text[], occurred timestamptz[], payloads text[], metadatas text[],
  stays_open boolean, is_serialized boolean, notify text,
  out outcome text, out version integer, out last_position bigint
) language plpgsql set plan_cache_mode = force_generic_plan as $eventspine$
declare
  key constant integer := ('{schema}.events_position_seq'::regclass::oid::bigint << 32 >> 32)::integer;
  setting text;
  is_entering boolean;
  seen integer;
  type text;
  nothing text;
begin
  if is_serialized then
    nothing := pg_advisory_xact_lock(key, -1)::text;
  end if;
  if stays_open then
    setting := 'eventspine.register_' || '{schema}.events_position_seq'::regclass::oid;
  end if;
  is_entering := setting is null or coalesce(current_setting(setting, true), '') <> 'in';
  if is_entering and setting is not null then
    nothing := set_config(setting, 'in', true);
  end if;
  if notify is not null then
    nothing := pg_notify('eventspine', notify)::text;
  end if;
  loop
    -- One statement: the entry in the register and the end of the stream. An end that is out of date is found out below.
    select r.entry, coalesce(l.version, a.version, 0), coalesce(l.type, a.type) into nothing, version, type
    from (
      select case when is_entering then pg_advisory_xact_lock_shared(key,
        ((case when s.is_called then s.last_value else 0 end) & 2147483647)::integer)::text end as entry
      from {schema}.events_position_seq s
    ) r
    left join lateral (
      select e.aggregate_version as version, e.event_type as type from {schema}.events e
      where e.aggregate_id = stream_id and e.aggregate_type = stream_type order by e.aggregate_version desc limit 1
    ) l on true
    left join lateral (
      select e.aggregate_version as version, e.event_type as type from {schema}.events_archive e
      where l.version is null and e.aggregate_id = stream_id and e.aggregate_type = stream_type
      order by e.aggregate_version desc limit 1
    ) a on true;
    is_entering := false;
    if type = '$streamDeleted' then
      outcome := 'd';
    elsif not (case expected when -1 then true when -2 then version > 0 else version = expected end) then
      outcome := 'c';
    elsif version = seen then
      outcome := 's';
    elsif expected < 0 and exists (select from {schema}.events_archive a where a.event_id = any (event_ids)) then
      outcome := 'k';
    else
      begin
        insert into {schema}.events (event_id, aggregate_type, aggregate_id, aggregate_version, event_type,
          event_version, bytes, tenant_id, correlation_id, causation_id, actor_id, occurred_at, payload, metadata)
        select x.id, stream_type, stream_id, version + x.n, x.t, x.v,
          octet_length(x.payload) + coalesce(octet_length(x.metadata), 0), x.tenant, x.correlation,
          x.causation, x.actor, x.occurred, x.payload::json, x.metadata::json
        from unnest(event_ids, event_types, event_versions, tenants, correlations, causations, actors, occurred,
          payloads, metadatas) with ordinality
          as x(id, t, v, tenant, correlation, causation, actor, occurred, payload, metadata, n);
        outcome := 'w';
        last_position := currval('{schema}.events_position_seq');
        return;
      exception
        when unique_violation then
          outcome := null;
        when lock_not_available then
          outcome := 'b';
          return;
      end;
    end if;
    if exists (select from {schema}.events e where e.event_id = any (event_ids))
      or exists (select from {schema}.events_archive e where e.event_id = any (event_ids)) then
      outcome := 'k';
    end if;
    exit when outcome is not null;
    seen := version; -- another transaction was first: look again
  end loop;
end $eventspine$;
`

/** Deletes a stream. */
export const deleteStream = `
-- Removes the events of a stream, and leaves a tombstone as its last event. Returns the version and the position of the
-- tombstone, an old one too; zeros where there is no such stream.
create function {schema}.delete_stream(
  stream_type text, stream_id text, tombstone_id text, correlation text, occurred timestamptz,
  stays_open boolean, is_serialized boolean, notify text,
  out version integer, out last_position bigint
) language plpgsql as $eventspine$
declare
  outcome text;
  type text;
begin
  loop
    select l.aggregate_version, l.event_type, l.position into version, type, last_position
    from (
      select e.aggregate_version, e.event_type, e.position from {schema}.events e
      where e.aggregate_id = stream_id and e.aggregate_type = stream_type
      union all
      select e.aggregate_version, e.event_type, e.position from {schema}.events_archive e
      where e.aggregate_id = stream_id and e.aggregate_type = stream_type
      order by aggregate_version desc limit 1
    ) l;
    if version is null or type = '$streamDeleted' then
      version := coalesce(version, 0);
      last_position := coalesce(last_position, 0);
      return;
    end if;
    select a.outcome, a.version + 1, a.last_position into outcome, version, last_position
    from {schema}.append(stream_type, stream_id, version, array[tombstone_id], array['$streamDeleted'], array[1],
      array[null::text], array[correlation], array[null::text], array[null::text], array[occurred], array['{}'],
      array[null::text], stays_open, is_serialized, notify) a;
    exit when outcome = 'w';
    if outcome = 's' then
      raise exception 'the snapshot of this transaction is older than the stream' using errcode = '40001';
    end if;
  end loop;
  delete from {schema}.events e where e.aggregate_id = stream_id and e.aggregate_type = stream_type
    and e.aggregate_version < version;
  delete from {schema}.events_archive e where e.aggregate_id = stream_id and e.aggregate_type = stream_type;
  delete from {schema}.snapshots s where s.aggregate_id = stream_id and s.aggregate_type = stream_type;
end $eventspine$;
`

/** Appends to several streams at once. */
export const appendMany = `
-- Appends to several streams, each all or nothing and none of them twice, in a transaction that ends with this call.
-- Each event names its stream and its place among that stream's events. Returns the letters, the versions, and the
-- positions of all events that were written, in order.
create function {schema}.append_many(
  stream_types text[], stream_ids text[], expected integer[],
  event_streams integer[], event_numbers integer[],
  event_ids text[], event_types text[], event_versions integer[], tenants text[], correlations text[],
  causations text[], actors text[], occurred timestamptz[], payloads text[], metadatas text[],
  is_serialized boolean, patience_ms integer,
  out outcomes text, out versions integer[], out positions bigint[]
) language plpgsql set plan_cache_mode = force_generic_plan as $eventspine$
declare
  key constant integer := ('{schema}.events_position_seq'::regclass::oid::bigint << 32 >> 32)::integer;
  all_expected boolean;
  last bigint;
  one record;
  own integer[];
  nothing text;
begin
  if is_serialized then
    nothing := pg_advisory_xact_lock(key, -1)::text;
  end if;
  select case when s.is_called then s.last_value else 0 end into last from {schema}.events_position_seq s;
  nothing := pg_advisory_xact_lock_shared(key, (last & 2147483647)::integer)::text;
  nothing := set_config('lock_timeout', patience_ms::text, true);
  select array_agg(coalesce(l.version, a.version, 0) order by s.n),
         bool_and(
           coalesce(l.type, a.type, '') <> '$streamDeleted' and case s.x
             when -1 then true
             when -2 then coalesce(l.version, a.version, 0) > 0
             else coalesce(l.version, a.version, 0) = s.x
           end)
    into versions, all_expected
  from unnest(stream_types, stream_ids, expected) with ordinality as s(t, i, x, n)
  left join lateral (
    select e.aggregate_version as version, e.event_type as type from {schema}.events e
    where e.aggregate_id = s.i and e.aggregate_type = s.t order by e.aggregate_version desc limit 1
  ) l on true
  left join lateral (
    select e.aggregate_version as version, e.event_type as type from {schema}.events_archive e
    where l.version is null and e.aggregate_id = s.i and e.aggregate_type = s.t
    order by e.aggregate_version desc limit 1
  ) a on true;
  if all_expected and not exists (select from {schema}.events_archive a where a.event_id = any (event_ids)) then
    begin
      with written as (
        insert into {schema}.events (event_id, aggregate_type, aggregate_id, aggregate_version, event_type,
          event_version, bytes, tenant_id, correlation_id, causation_id, actor_id, occurred_at, payload, metadata)
        select x.id, stream_types[x.s], stream_ids[x.s], versions[x.s] + x.n, x.t, x.v,
          octet_length(x.payload) + coalesce(octet_length(x.metadata), 0), x.tenant, x.correlation,
          x.causation, x.actor, x.occurred, x.payload::json, x.metadata::json
        from unnest(event_streams, event_numbers, event_ids, event_types, event_versions, tenants, correlations,
          causations, actors, occurred, payloads, metadatas)
          as x(s, n, id, t, v, tenant, correlation, causation, actor, occurred, payload, metadata)
        returning position
      )
      select array_agg(w.position order by w.position) into positions from written w;
      outcomes := repeat('w', cardinality(stream_types));
      return;
    exception when unique_violation or lock_not_available then
      null; -- only some streams are affected: one by one
    end;
  end if;
  outcomes := '';
  positions := '{}';
  for k in 1..cardinality(stream_types) loop
    own := array(select x.o from unnest(event_streams) with ordinality as x(s, o) where x.s = k order by x.o);
    select * into one from {schema}.append(
      stream_types[k], stream_ids[k], expected[k],
      event_ids[own[1]:own[cardinality(own)]], event_types[own[1]:own[cardinality(own)]],
      event_versions[own[1]:own[cardinality(own)]], tenants[own[1]:own[cardinality(own)]],
      correlations[own[1]:own[cardinality(own)]], causations[own[1]:own[cardinality(own)]],
      actors[own[1]:own[cardinality(own)]], occurred[own[1]:own[cardinality(own)]],
      payloads[own[1]:own[cardinality(own)]], metadatas[own[1]:own[cardinality(own)]],
      false, false, null);
    outcomes := outcomes || one.outcome;
    versions[k] := one.version;
    if one.outcome = 'w' then
      positions := positions || array(
        select e.position from {schema}.events e where e.aggregate_id = stream_ids[k]
          and e.aggregate_type = stream_types[k] and e.aggregate_version > one.version order by e.position);
    end if;
  end loop;
end $eventspine$;
`
