-- What a run is, as its plan says. A pipeline's says nothing.
create function sovereign.kind_of(plan bytea) returns text
language sql immutable strict set search_path = pg_catalog, pg_temp as $$
  select coalesce(convert_from(plan, 'UTF8')::json ->> 'kind', 'pipeline')
$$;
alter function sovereign.kind_of owner to sovereign_owner;
revoke all on function sovereign.kind_of from public;
alter table sovereign.runs
  add column kind text not null generated always as (sovereign.kind_of(plan)) stored;
