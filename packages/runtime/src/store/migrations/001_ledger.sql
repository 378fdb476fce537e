-- The ledger, runs and steps. Evidence is append-only: by privilege, and by trigger against owners.
create schema sovereign authorization sovereign_owner;
-- A log's row is its lock. How long a log or a stream is, and where it stands, the entries say.
-- Keys compare by bytes: no server's locale, nor a change of it, touches their order.
create table sovereign.logs (
  log_id text collate "C" primary key
);
create table sovereign.entries (
  log_id text collate "C" not null,
  index bigint not null,
  stream text collate "C" not null,
  sequence bigint not null,
  hash bytea not null,
  bytes bytea not null,
  primary key (log_id, index),
  unique (log_id, stream, sequence)
);
create table sovereign.envelopes (
  log_id text collate "C" not null,
  digest text collate "C" not null,
  bytes bytea not null,
  primary key (log_id, digest)
);
create table sovereign.nonces (
  nonce text collate "C" primary key,
  log_id text collate "C" not null,
  expires_at text not null
);
-- Roots of complete subtrees of 2^level leaves, level 8, 16, 24 …
create table sovereign.nodes (
  log_id text collate "C" not null,
  level int not null,
  index bigint not null,
  hash bytea not null,
  primary key (log_id, level, index)
);
create table sovereign.checkpoints (
  log_id text collate "C" not null,
  size bigint not null,
  note text not null,
  frontier bytea not null,
  primary key (log_id, size)
);
create table sovereign.runs (
  run_id text collate "C" primary key,
  log_id text collate "C" not null,
  name text not null,
  mode text not null,
  status text not null,
  plan bytea not null,
  plan_digest text not null,
  reason text,
  sealed_count bigint,
  sealed_hash text,
  fence_epoch bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index runs_by_log on sovereign.runs (log_id, created_at desc);
create table sovereign.steps (
  run_id text collate "C" not null,
  step_id text collate "C" not null,
  log_id text collate "C" not null,
  status text not null,
  attempt int not null,
  action_digest text not null,
  output bytea,
  updated_at timestamptz not null default now(),
  primary key (run_id, step_id)
);

-- Batches whose answer was lost before they were found: they are refused, should they still come.
create table sovereign.abandoned (
  batch text collate "C" primary key
);

create function sovereign.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'evidence is append-only: % on % is refused', tg_op, tg_table_name
    using errcode = 'insufficient_privilege';
end $$;

do $$
declare name text;
begin
  foreach name in array array[
    'logs', 'entries', 'envelopes', 'nonces', 'nodes', 'checkpoints'
  ] loop
    execute format(
      'create trigger append_only before update or delete on sovereign.%I
         for each row execute function sovereign.refuse_change()', name);
    execute format(
      'create trigger no_truncate before truncate on sovereign.%I
         for each statement execute function sovereign.refuse_change()', name);
  end loop;
end $$;

-- One tenant never sees another's rows: the application role reads only what `sovereign.tenant`
-- names, and a missing setting names nothing. The owner writes through the functions below.
do $$
declare name text;
begin
  foreach name in array array[
    'logs', 'entries', 'envelopes', 'nonces', 'nodes', 'checkpoints', 'runs', 'steps'
  ] loop
    execute format('alter table sovereign.%I enable row level security', name);
    execute format('alter table sovereign.%I force row level security', name);
    execute format(
      'create policy tenant_rows on sovereign.%I for select to sovereign_app
         using (log_id = current_setting(''sovereign.tenant'', true))', name);
    execute format(
      'create policy owner_rows on sovereign.%I to sovereign_owner using (true) with check (true)',
      name);
    execute format('alter table sovereign.%I owner to sovereign_owner', name);
    execute format('grant select on sovereign.%I to sovereign_app', name);
  end loop;
end $$;
alter table sovereign.abandoned owner to sovereign_owner;
grant usage on schema sovereign to sovereign_app;
