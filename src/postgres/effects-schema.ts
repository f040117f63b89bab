// An event of the outbox gets its position while its transaction commits. Events of one aggregate are therefore in the
// order of the commits, and an open transaction does not hold back other events. The locks last until the commit is
// done. docs/decisions has the reasons.
const tables = `
create table {schema}.inbox (
  handler  text collate "C" not null,
  event_id text collate "C" not null,
  noted_at timestamptz not null default clock_timestamp(),
  primary key (handler, event_id)
);
create index inbox_by_time on {schema}.inbox (noted_at);

create sequence {schema}.outbox_position_seq maxvalue 9007199254740991 cache 1;
create table {schema}.outbox (
  id                bigint generated always as identity primary key,
  position          bigint,
  event_id          text collate "C" not null,
  aggregate_type    text collate "C" not null,
  aggregate_id      text collate "C" not null,
  aggregate_version integer not null,
  event_type        text collate "C" not null,
  event_version     integer not null,
  tenant_id         text collate "C",
  correlation_id    text collate "C" not null,
  causation_id      text collate "C",
  actor_id          text collate "C",
  occurred_at       timestamptz not null,
  stored_at         timestamptz not null default clock_timestamp(),
  payload           json not null,
  metadata          json,
  constraint outbox_position unique (position)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
  autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.1);
alter sequence {schema}.outbox_position_seq owned by {schema}.outbox.position;
comment on column {schema}.outbox.position is 'null until the transaction commits';

create table {schema}.outbox_relays (
  name     text collate "C" primary key,
  position bigint not null,
  store_id text collate "C",
  event_id text collate "C",
  fence    bigint,
  saved_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

-- Adds events to the outbox. Their transaction numbers them when it commits.
create function {schema}.add_to_outbox(
  event_ids text[], event_types text[], event_versions integer[], tenants text[], correlations text[],
  causations text[], actors text[], occurred timestamptz[], payloads text[], metadatas text[],
  stream_types text[], stream_ids text[], stream_versions integer[], notify text
) returns void language plpgsql set plan_cache_mode = force_generic_plan as $eventspine$
declare
  nothing text;
begin
  insert into {schema}.outbox (event_id, event_type, event_version, tenant_id, correlation_id, causation_id, actor_id,
    occurred_at, payload, metadata, aggregate_type, aggregate_id, aggregate_version)
  select x.id, x.t, x.v, x.tenant, x.correlation, x.causation, x.actor, x.occurred, x.payload::json,
    x.metadata::json, x.st, x.si, x.sv
  from unnest(event_ids, event_types, event_versions, tenants, correlations, causations, actors, occurred, payloads,
    metadatas, stream_types, stream_ids, stream_versions) with ordinality
    as x(id, t, v, tenant, correlation, causation, actor, occurred, payload, metadata, st, si, sv, n)
  order by x.n;
  if notify is not null then
    nothing := pg_notify('eventspine', notify)::text;
  end if;
end $eventspine$;
`

/** Gives the events of the outbox their positions. */
export const numberOutbox = `
-- Runs at the commit, once for all events of the transaction: those from this one on that have no position. Transactions
-- that have an aggregate in common commit one after the other from here on. Many aggregates take one lock for all, so
-- that the number of locks is bounded; the order of the locks excludes deadlocks.
create function {schema}.number_outbox() returns trigger
language plpgsql set plan_cache_mode = force_generic_plan as $eventspine$
declare
  aggregates_key constant integer := ('{schema}.outbox'::regclass::oid::bigint << 32 >> 32)::integer;
  key constant integer := ('{schema}.outbox_position_seq'::regclass::oid::bigint << 32 >> 32)::integer;
  first_id constant bigint := new.id;
  last bigint;
  hashes integer[];
  one integer;
begin
  perform from {schema}.outbox o where o.id = first_id and o.position is null;
  if not found then
    return null;
  end if;
  select array_agg(x.h order by x.h) into hashes from (
    select distinct hashtext(o.aggregate_type || ' ' || o.aggregate_id) & 1073741823 as h
    from {schema}.outbox o where o.id >= first_id and o.position is null limit 65
  ) x;
  if cardinality(hashes) > 64 then
    perform pg_advisory_xact_lock(aggregates_key, -1);
  else
    perform pg_advisory_xact_lock_shared(aggregates_key, -1);
    foreach one in array hashes loop
      perform pg_advisory_xact_lock(aggregates_key, one);
    end loop;
  end if;
  select case when s.is_called then s.last_value else 0 end into last from {schema}.outbox_position_seq s;
  perform pg_advisory_xact_lock_shared(key, (last & 2147483647)::integer);
  update {schema}.outbox o set position = n.position, stored_at = clock_timestamp() from (
    select x.id, nextval('{schema}.outbox_position_seq') as position from (
      select u.id from {schema}.outbox u where u.id >= first_id and u.position is null order by u.id offset 0
    ) x
  ) n where o.id = n.id;
  return null;
end $eventspine$;
`

const trigger = `
create constraint trigger number_outbox after insert on {schema}.outbox
  deferrable initially deferred for each row execute function {schema}.number_outbox();
`

/** Finds the end of the outbox. */
export const outboxEnd = `
-- The end of the outbox, as feed_end has it. The event at the checkpoint of a relay is never removed, so it is not before
-- that checkpoint.
create function {schema}.outbox_end()
returns table (head bigint, head_event_id text, is_held boolean, is_replica boolean)
language plpgsql as $eventspine$
declare
  last bigint;
  horizon bigint;
begin
  is_replica := pg_is_in_recovery();
  select case when s.is_called then s.last_value else 0 end into last from {schema}.outbox_position_seq s;
  select least(last, min(last - r.behind)) into horizon
  from (
    select (last - l.objid::bigint) & 2147483647 as behind
    from pg_locks l
    where l.locktype = 'advisory' and l.objsubid = 2 and l.objid::bigint <= 2147483647
      and l.classid = '{schema}.outbox_position_seq'::regclass::oid
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
  ) r
  where r.behind < 2130706432;
  is_held := horizon < last;
  select o.position, o.event_id into head, head_event_id
  from {schema}.outbox o where o.position <= horizon order by o.position desc limit 1;
  head := coalesce(head, 0);
  return next;
end $eventspine$;
`

export const effectsSchema = `${tables}${numberOutbox}${trigger}${outboxEnd}`
