/** The tables and indexes of the stores. `{schema}` stands for the quoted name of the schema. */
export const tables = `
create table {schema}.events (
  position          bigint generated always as identity (maxvalue 9007199254740991 cache 1) primary key,
  event_id          text collate "C" not null,
  aggregate_type    text collate "C" not null,
  aggregate_id      text collate "C" not null,
  aggregate_version integer not null,
  event_type        text collate "C" not null,
  event_version     integer not null,
  bytes             integer not null default 0,
  tenant_id         text collate "C",
  correlation_id    text collate "C" not null,
  causation_id      text collate "C",
  actor_id          text collate "C",
  occurred_at       timestamptz not null,
  stored_at         timestamptz not null default clock_timestamp(),
  payload           json not null,
  metadata          json,
  tags              text[],
  constraint events_version unique (aggregate_id, aggregate_type, aggregate_version),
  constraint events_event_id unique (event_id)
) with (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
comment on column {schema}.events.bytes is 'size of payload and metadata: a page of the feed is limited by it';
comment on column {schema}.events.tags is 'reserved: what an append condition may ask for';
create index events_by_type on {schema}.events (event_type, position);
create index events_by_tenant on {schema}.events (tenant_id, position) where tenant_id is not null;
create index events_by_aggregate_type on {schema}.events (aggregate_type, position);
create index events_by_correlation on {schema}.events (correlation_id, position);
create index events_large on {schema}.events (position) include (bytes) where bytes > 8192;
create index events_by_time on {schema}.events using brin (stored_at) with (pages_per_range = 32);

create table {schema}.events_archive (
  like {schema}.events including defaults including storage,
  primary key (position),
  constraint events_archive_version unique (aggregate_id, aggregate_type, aggregate_version),
  constraint events_archive_event_id unique (event_id)
);

create table {schema}.store (
  only_row   boolean primary key default true check (only_row),
  id         uuid not null,
  created_at timestamptz not null default now()
);
insert into {schema}.store (id) values (gen_random_uuid());

create table {schema}.snapshots (
  aggregate_type text collate "C" not null,
  aggregate_id   text collate "C" not null,
  version        integer not null,
  schema_version integer not null,
  state          json,
  taken_at       timestamptz not null,
  primary key (aggregate_type, aggregate_id)
);

create table {schema}.checkpoints (
  name     text collate "C" primary key,
  position bigint not null,
  store_id text collate "C",
  event_id text collate "C",
  fence    bigint,
  saved_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

create table {schema}.leases (
  name       text collate "C" primary key,
  owner      text collate "C" not null,
  fence      bigint not null,
  expires_at timestamptz not null
) with (fillfactor = 50);

create table {schema}.parked_events (
  subscription    text collate "C" not null,
  position        bigint not null,
  event           json not null,
  handler_names   text[] not null,
  error_name      text not null,
  error_message   text not null,
  attempts        integer not null,
  first_failed_at timestamptz not null,
  failed_at       timestamptz not null,
  primary key (subscription, position)
);
create index parked_events_by_time on {schema}.parked_events (failed_at);
`
