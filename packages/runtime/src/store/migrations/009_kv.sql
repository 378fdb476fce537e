-- Values that steps of a tenant's runs keep between runs. The ledger says who wrote what, and when.
create table sovereign.kv (
  log_id text collate "C" not null,
  key text collate "C" not null check (octet_length(key) between 1 and 800),
  value text not null check (octet_length(value) <= 65536),
  updated_at timestamptz not null default clock_timestamp(),
  primary key (log_id, key)
);
select sovereign.guard_tables('kv');

-- Keep a value of the claimed log's tenant; null takes it away. No tenant fills the disk: there is a
-- bound on keys. Done twice is done once.
create function sovereign.kv_put(kept_key text, kept_value text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, sovereign, pg_temp set client_min_messages = error
set lock_timeout = '2s' as $$
declare
  log text := writing_log('kv');
begin
  if log = 'installation' then
    raise exception 'the installation keeps no values' using errcode = 'insufficient_privilege';
  end if;
  if kept_value is null then
    delete from kv where log_id = log and key = kept_key;
    return;
  end if;
  if not exists (select from kv where log_id = log and key = kept_key)
    and (select count(*) from kv where log_id = log) >= 10000
  then
    raise exception 'the tenant keeps 10000 values already' using errcode = 'program_limit_exceeded';
  end if;
  insert into kv (log_id, key, value) values (log, kept_key, kept_value)
  on conflict (log_id, key) do update
    set value = excluded.value, updated_at = clock_timestamp();
end $$;
select sovereign.guard_functions('kv_put');
grant execute on function sovereign.kv_put to sovereign_app;
