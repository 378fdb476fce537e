-- A worker lives, and works on these runs: their leases go on. A row that somebody holds is left alone, so
-- that who stays in a transaction with a run of its own takes no lease from runs of others.
-- @returns those that are its own still, and whether the lease went on
drop function sovereign.beat_worker;
create function sovereign.beat_worker(
  beating text, held_logs text[], held_runs text[], lease_ms int
) returns table (log_id text, run_id text, renewed boolean)
language plpgsql volatile strict security definer set search_path = pg_catalog, sovereign, pg_temp
set client_min_messages = error set lock_timeout = '2s' as $$
#variable_conflict use_column
begin
  perform claim_dispatch();
  return query
    with mine as (
      select q.log_id, q.run_id from queue q
      join unnest(held_logs, held_runs) h (log_id, run_id)
        on q.log_id = h.log_id and q.run_id = h.run_id
      where q.worker = beating
    ), free as (
      select q.log_id, q.run_id from queue q join mine m on m.log_id = q.log_id and m.run_id = q.run_id
      where q.worker = beating for update of q skip locked
    ), kept as (
      update queue q set lease_until = clock_timestamp() + lease_ms * interval '1 ms'
      from free f where q.log_id = f.log_id and q.run_id = f.run_id
      returning q.log_id, q.run_id
    )
    select m.log_id, m.run_id, exists (
      select from kept k where k.log_id = m.log_id and k.run_id = m.run_id) from mine m;
end $$;
select sovereign.guard_functions('beat_worker');
grant execute on function sovereign.beat_worker to sovereign_app;
