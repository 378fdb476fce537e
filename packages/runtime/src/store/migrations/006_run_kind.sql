-- What a run is, as its plan says; a pipeline's says nothing. A plan that cannot be read keeps no
-- database from being opened: whoever goes on with that run is refused.
create function sovereign.kind_of(plan bytea) returns text
language plpgsql immutable strict set search_path = pg_catalog, pg_temp as $$
begin
  return coalesce(convert_from(plan, 'UTF8')::json ->> 'kind', 'pipeline');
exception when others then
  return 'unreadable';
end
$$;
alter function sovereign.kind_of owner to sovereign_owner;
revoke all on function sovereign.kind_of from public;
alter table sovereign.runs
  add column kind text not null generated always as (sovereign.kind_of(plan)) stored;
