-- One key, one run: whoever submits a goal again under the same key gets the run that there is. The key
-- is the plan's own, so no column can say otherwise.
create function sovereign.key_of(plan bytea) returns text
language plpgsql immutable strict set search_path = pg_catalog, pg_temp as $$
begin
  return convert_from(plan, 'UTF8')::json ->> 'idempotency_key';
exception when others then
  return null;
end
$$;
select sovereign.guard_functions('key_of');
alter table sovereign.runs
  add column idempotency_key text collate "C" generated always as (sovereign.key_of(plan)) stored;
create unique index runs_by_key on sovereign.runs (log_id, idempotency_key)
  where idempotency_key is not null;
