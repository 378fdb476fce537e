-- Circuit breakers, one for each tenant, skill and host: who fails again and again is left alone for a
-- while. They are no evidence: they stand on the database's clock, and nothing is proved by them.
create table sovereign.breakers (
  log_id text collate "C" not null,
  skill text collate "C" not null,
  host text collate "C" not null,
  state text not null check (state in ('closed', 'open', 'half_open')),
  -- Failures in a row while it is closed.
  failures int not null,
  -- Of a half-open one: how many may try, and how many of them did well.
  tries int not null,
  successes int not null,
  changed_at timestamptz not null,
  primary key (log_id, skill, host)
);
select sovereign.guard_tables('breakers');

-- Part of `commit_batch`, before budgets hold anything: an item whose breaker is open is refused with 200.
-- After 60 s three may try. Where they neither did well nor failed within 60 s, three others may.
create function sovereign.ask_breakers(written jsonb, item_log text[], refused int[]) returns int[]
language plpgsql volatile set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  one record;
  found_state text;
  is_over boolean;
  left_tries int;
begin
  for one in
    select w.* from rows from (jsonb_to_recordset(written -> 'gates') as (item int, skill text,
      host text)) with ordinality w
    where refused[w.item] = 0 order by w.ordinality
  loop
    select b.state, b.changed_at + interval '60 s' <= clock_timestamp(), 3 - b.tries
    into found_state, is_over, left_tries
    from breakers b
    where b.log_id = item_log[one.item] and b.skill = one.skill and b.host = one.host;
    if not found or found_state = 'closed' then continue; end if;
    if is_over then
      update breakers b set state = 'half_open', tries = 1, successes = 0,
        changed_at = clock_timestamp()
      where b.log_id = item_log[one.item] and b.skill = one.skill and b.host = one.host;
    elsif found_state = 'half_open' and left_tries > 0 then
      update breakers b set tries = b.tries + 1
      where b.log_id = item_log[one.item] and b.skill = one.skill and b.host = one.host;
    else
      refused[one.item] := 200;
    end if;
  end loop;
  return refused;
end $$;

-- Part of `commit_batch`: how calls ended. Five failures in a row open a breaker, one failure opens a
-- half-open one again, and three calls that did well close it.
create function sovereign.tell_breakers(written jsonb, item_log text[], refused int[]) returns void
language plpgsql volatile set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  one record;
begin
  for one in
    select w.* from rows from (jsonb_to_recordset(written -> 'probes') as (item int, skill text,
      host text, ok boolean)) with ordinality w
    where refused[w.item] = 0 order by w.ordinality
  loop
    if one.ok then
      update breakers b set failures = 0, successes = b.successes + 1,
        state = case when b.state = 'half_open' and b.successes >= 2 then 'closed' else b.state end
      where b.log_id = item_log[one.item] and b.skill = one.skill and b.host = one.host
        and b.state <> 'open';
    else
      insert into breakers as b (log_id, skill, host, state, failures, tries, successes, changed_at)
      values (item_log[one.item], one.skill, one.host, 'closed', 1, 0, 0, clock_timestamp())
      on conflict (log_id, skill, host) do update set failures = b.failures + 1,
        state = case when b.state = 'half_open' or b.failures >= 4 then 'open' else b.state end,
        changed_at = case when b.state = 'half_open' or b.failures = 4 then clock_timestamp()
          else b.changed_at end;
    end if;
  end loop;
end $$;

select sovereign.amend_commit('if strpos(rows_written, ''"holds":['') > 0 then',
  'if strpos(rows_written, ''"gates":['') > 0 then
    refused := ask_breakers(rows_written::jsonb, item_log, refused);
  end if;
  ', '');
select sovereign.amend_commit('perform write_traces(rows_written::jsonb, item_log, refused);', '', '
    if strpos(rows_written, ''"probes":['') > 0 then
      perform tell_breakers(rows_written::jsonb, item_log, refused);
    end if;');

select sovereign.guard_functions('ask_breakers', 'tell_breakers');
