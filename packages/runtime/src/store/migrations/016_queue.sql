-- Runs that wait for a worker, and those that workers carry out. A run is put here in the commit that
-- admits it. Which worker has a run is no evidence: what keeps another from writing is the run's fence.
create table sovereign.queue (
  log_id text collate "C" not null,
  run_id text collate "C" not null,
  -- The data folder whose workers alone carry it out, and what of the run lies only there.
  node text collate "C",
  stays text check (length(stays) <= 1000),
  -- Else workers of every data folder do that keeps contents at this place and has a key of this role.
  contents text collate "C",
  role text collate "C",
  priority int not null check (priority between -100 and 100),
  submitted_at timestamptz not null default clock_timestamp(),
  -- Not before this; a run that could not be carried out is left alone for a while.
  ready_at timestamptz not null default clock_timestamp(),
  worker text collate "C",
  lease_until timestamptz,
  -- How often it was given to a worker who did not come to an end with it.
  takes int not null default 0,
  -- What the last of those said.
  why text check (length(why) <= 1000),
  primary key (log_id, run_id),
  check ((worker is null) = (lease_until is null)),
  check (num_nulls(node, stays, contents, role) = 2 and (node is null) = (stays is null)
    and (contents is null) = (role is null))
);
create index queue_order on sovereign.queue (log_id, priority desc, submitted_at, run_id);
create index queue_held on sovereign.queue (log_id, lease_until) where worker is not null;
-- When each tenant had its last turn.
create table sovereign.queue_turns (
  log_id text collate "C" primary key,
  turn_at timestamptz not null
);

-- A tenant reads which of its runs wait. Whose turn it is tells of other tenants.
select sovereign.guard_tables('queue', 'queue_turns');
revoke all on sovereign.queue_turns from sovereign_app;

-- Part of `commit_batch`. What a tenant may have waiting is bounded: whoever hands runs out looks at all.
create function sovereign.write_queue(written jsonb, item_log text[], refused int[]) returns void
language plpgsql volatile set search_path = pg_catalog, sovereign, pg_temp as $$
begin
  if exists (
    select from (
      select distinct item_log[w.item] as log_id
      from jsonb_to_recordset(written -> 'queued') as w (item int) where refused[w.item] = 0
    ) l
    where (select count(*) from queue q where q.log_id = l.log_id) >= 20000
  ) then
    raise exception 'too many runs of the tenant wait' using errcode = 'check_violation';
  end if;
  insert into queue (log_id, run_id, node, stays, contents, role, priority)
  select item_log[w.item], w.run_id, w.node, w.stays, w.contents, w.role, w.priority
  from jsonb_to_recordset(written -> 'queued') as w (item int, run_id text, node text, stays text,
    contents text, role text, priority int)
  where refused[w.item] = 0
  on conflict (log_id, run_id) do nothing;
  delete from queue q using jsonb_to_recordset(written -> 'unqueued') as w (item int, run_id text)
  where refused[w.item] = 0 and q.log_id = item_log[w.item] and q.run_id = w.run_id;
end $$;

-- Only who has the installation's claim for it hands work out: it sees the runs of all tenants.
create function sovereign.claim_dispatch() returns void
language plpgsql stable set search_path = pg_catalog, sovereign, pg_temp as $$
begin
  if claimed() is distinct from 'installation/dispatch' then
    raise exception 'this needs the claim for dispatch' using errcode = 'insufficient_privilege';
  end if;
end $$;

-- Give a worker the next run: of the tenants that have one ready, that with the fewest under way, and of
-- those the one whose turn is the longest ago; within a tenant by priority, then by age. A run whose lease
-- is over is taken from its worker. No lock of a tenant's log is taken here: a tenant that holds its own
-- keeps nobody else's runs waiting. Each tenant is looked at, and of its runs those alone that come before
-- the first that can be given.
create function sovereign.claim_queued(
  taker text, on_node text, on_contents text, with_roles text[], lease_ms int
) returns table (log_id text, run_id text, takes int, lost text, why text)
language plpgsql volatile security definer set search_path = pg_catalog, sovereign, pg_temp
set client_min_messages = error set lock_timeout = '2s'
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  tenant record;
  found_row record;
  at timestamptz := clock_timestamp();
begin
  perform claim_dispatch();
  for tenant in
    with recursive t (log_id) as (
      (select q.log_id from queue q order by q.log_id limit 1)
      union all
      select (select q.log_id from queue q where q.log_id > t.log_id order by q.log_id limit 1)
      from t where t.log_id is not null
    )
    select t.log_id from t left join queue_turns l on l.log_id = t.log_id
    where t.log_id is not null
    order by (select count(*) from queue s where s.log_id = t.log_id and s.worker is not null
        and s.lease_until > at),
      coalesce(l.turn_at, '-infinity'), t.log_id
  loop
    select q.log_id, q.run_id, q.worker, q.takes, q.why into found_row
    from queue q
    where q.log_id = tenant.log_id and (q.worker is null or q.lease_until <= at)
      and q.ready_at <= at
      and (q.node = on_node or q.contents = on_contents and q.role = any (with_roles))
    order by q.priority desc, q.submitted_at, q.run_id
    limit 1 for update of q skip locked;
    continue when not found;
    update queue q set worker = taker, lease_until = at + lease_ms * interval '1 ms',
      takes = q.takes + 1
    where q.log_id = found_row.log_id and q.run_id = found_row.run_id;
    insert into queue_turns values (found_row.log_id, at)
    on conflict (log_id) do update set turn_at = excluded.turn_at;
    return query select found_row.log_id, found_row.run_id, found_row.takes + 1, found_row.worker,
      found_row.why;
    return;
  end loop;
end $$;

-- What waits for workers of other data folders: so that a worker can say for whom.
create function sovereign.queued_elsewhere(on_node text, on_contents text, with_roles text[])
returns table (node text, contents text, role text, runs bigint)
language plpgsql stable security definer set search_path = pg_catalog, sovereign, pg_temp
set client_min_messages = error as $$
#variable_conflict use_column
begin
  perform claim_dispatch();
  return query select q.node, q.contents, q.role, count(*) from queue q
  where (q.worker is null or q.lease_until <= clock_timestamp())
    and (q.node = on_node or q.contents = on_contents and q.role = any (with_roles)) is not true
  group by 1, 2, 3 order by 4 desc, 1, 2, 3 limit 20;
end $$;

-- A worker lives, and works on these runs: their leases go on. @returns those that are its own still
create function sovereign.beat_worker(
  beating text, held_logs text[], held_runs text[], lease_ms int
) returns table (log_id text, run_id text)
language plpgsql volatile security definer set search_path = pg_catalog, sovereign, pg_temp
set client_min_messages = error set lock_timeout = '2s' as $$
#variable_conflict use_column
begin
  perform claim_dispatch();
  return query update queue q set lease_until = clock_timestamp() + lease_ms * interval '1 ms'
  from unnest(held_logs, held_runs) h (log_id, run_id)
  where q.log_id = h.log_id and q.run_id = h.run_id and q.worker = beating
  returning q.log_id, q.run_id;
end $$;

-- A worker gives a run back; another may have it after a while. Of one that was taken from it, or has
-- ended, nothing changes. @param reason null where nothing was wrong with the run, which is not counted
create function sovereign.return_queued(
  giver text, returned_log text, returned_run text, wait_ms int, reason text
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, sovereign, pg_temp
set client_min_messages = error set lock_timeout = '2s' as $$
begin
  perform claim_dispatch();
  update queue q set worker = null, lease_until = null,
    takes = q.takes - case when reason is null then 1 else 0 end,
    why = coalesce(left(reason, 1000), q.why),
    ready_at = clock_timestamp() + wait_ms * interval '1 ms'
  where q.log_id = returned_log and q.run_id = returned_run and q.worker = giver;
end $$;

-- The run has ended for ever, and its evidence is published.
create function sovereign.finish_queued(finisher text, ended_log text, ended_run text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, sovereign, pg_temp
set client_min_messages = error set lock_timeout = '2s' as $$
begin
  perform claim_dispatch();
  delete from queue q
  where q.log_id = ended_log and q.run_id = ended_run and q.worker = finisher;
end $$;

-- Take a run of the claimed log over: whoever held the fence before can write no more. Under the lock of
-- the log, so that no commit that found the former fence comes after this.
create or replace function sovereign.claim_run(claimed_run text) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, sovereign, pg_temp
set client_min_messages = error set lock_timeout = '2s' as $$
declare
  log text := writing_log('runs');
  epoch bigint;
begin
  perform 1 from logs l where l.log_id = log for update;
  update runs set fence_epoch = fence_epoch + 1, updated_at = now()
  where log_id = log and run_id = claimed_run returning fence_epoch into epoch;
  return epoch;
end $$;

select sovereign.amend_commit('perform write_traces(rows_written::jsonb, item_log, refused);', '', '
    if strpos(rows_written, ''"queued":['') > 0 or strpos(rows_written, ''"unqueued":['') > 0 then
      perform write_queue(rows_written::jsonb, item_log, refused);
    end if;');
select sovereign.guard_functions(
  'write_queue', 'claim_dispatch', 'claim_queued', 'queued_elsewhere', 'beat_worker', 'return_queued',
  'finish_queued'
);
grant execute on function sovereign.claim_queued, sovereign.queued_elsewhere, sovereign.beat_worker,
  sovereign.return_queued, sovereign.finish_queued to sovereign_app;
