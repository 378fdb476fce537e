-- Incidents: what a person has to look at. A row is a cache of the entries that raised, acknowledged and
-- resolved it, and is written in their commit; `incident_entries` names them. All of it can be made again
-- from the ledger.
create table sovereign.incidents (
  log_id text collate "C" not null,
  incident_id text collate "C" not null check (incident_id ~ '^inc_[0-9a-f]{20}$'),
  kind text not null,
  subject text not null,
  severity text not null,
  state text not null check (state in ('open', 'acknowledged', 'resolved')),
  summary text not null,
  code text,
  run_id text collate "C",
  step_id text,
  occurrences bigint not null,
  raised_at text not null,
  last_at text not null,
  acknowledged_by text,
  acknowledged_at text,
  resolved_by text,
  resolved_at text,
  note text,
  primary key (log_id, incident_id)
);
create index incidents_by_time on sovereign.incidents (log_id, last_at);
create table sovereign.incident_entries (
  log_id text collate "C" not null,
  stream text collate "C" not null,
  sequence bigint not null,
  incident_id text collate "C" not null,
  primary key (log_id, stream, sequence)
);
create index incident_entries_by_incident on sovereign.incident_entries (log_id, incident_id);

select sovereign.guard_tables('incidents', 'incident_entries');

-- Part of `commit_batch`: the incidents that entries of the batch speak of, one after another, each in the
-- log and the stream of its item. The same folding is in packages/core/src/incidents.
create function sovereign.write_incidents(
  written jsonb, item_log text[], item_stream text[], item_count bigint[], refused int[]
) returns void
language plpgsql volatile set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  one record;
begin
  for one in
    select w.* from rows from (jsonb_to_recordset(written -> 'incidents') as (item int, event text,
      incident_id text, kind text, subject text, severity text, summary text, code text, run_id text,
      step_id text, said_by text, note text, at text, sequence bigint)) with ordinality w
    where refused[w.item] = 0 order by w.ordinality
  loop
    if one.sequence is distinct from item_count[one.item] then
      raise exception 'an incident is of another entry' using errcode = 'data_exception';
    end if;
    insert into incident_entries (log_id, stream, sequence, incident_id)
    values (item_log[one.item], item_stream[one.item], one.sequence, one.incident_id);
    if one.event = 'raised' then
      insert into incidents as i (log_id, incident_id, kind, subject, severity, state, summary, code,
        run_id, step_id, occurrences, raised_at, last_at)
      values (item_log[one.item], one.incident_id, one.kind, one.subject, one.severity, 'open',
        one.summary, one.code, one.run_id, one.step_id, 1, one.at, one.at)
      on conflict (log_id, incident_id) do update set severity = excluded.severity,
        summary = excluded.summary, code = excluded.code, run_id = excluded.run_id,
        step_id = excluded.step_id, last_at = excluded.last_at, occurrences = i.occurrences + 1,
        state = case i.state when 'resolved' then 'open' else i.state end,
        acknowledged_by = case i.state when 'resolved' then null else i.acknowledged_by end,
        acknowledged_at = case i.state when 'resolved' then null else i.acknowledged_at end,
        resolved_by = null, resolved_at = null, note = null;
    elsif one.event = 'acknowledged' then
      update incidents set state = 'acknowledged', acknowledged_by = one.said_by, acknowledged_at = one.at
      where log_id = item_log[one.item] and incident_id = one.incident_id and state = 'open';
    else
      update incidents set state = 'resolved', resolved_by = one.said_by, resolved_at = one.at,
        note = one.note
      where log_id = item_log[one.item] and incident_id = one.incident_id and state <> 'resolved';
    end if;
  end loop;
end $$;

-- Put rows that were made again from the ledger in the place of those that are there. They are of the log
-- as it was: where it has grown since, they are made again.
create function sovereign.replace_incidents(log_size bigint, made jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, sovereign, pg_temp
set client_min_messages = error set lock_timeout = '2s' as $$
declare
  log text := writing_log('incidents');
begin
  perform 1 from logs l where l.log_id = log for update;
  if log_size <> coalesce(
    (select e.index + 1 from entries e where e.log_id = log order by e.index desc limit 1), 0)
  then
    raise exception 'the log has grown' using errcode = 'serialization_failure';
  end if;
  delete from incident_entries where log_id = log;
  delete from incidents where log_id = log;
  insert into incidents
  select r.* from jsonb_populate_recordset(null::incidents, made -> 'incidents') r
  where r.log_id = log;
  insert into incident_entries
  select r.* from jsonb_populate_recordset(null::incident_entries, made -> 'entries') r
  where r.log_id = log;
end $$;

-- One statement more in `commit_batch`, after the one that writes traces.
select sovereign.amend_commit('perform write_traces(rows_written::jsonb, item_log, refused);', '', '
    if strpos(rows_written, ''"incidents":['') > 0 then
      perform write_incidents(rows_written::jsonb, item_log, item_stream, item_count, refused);
    end if;');

select sovereign.guard_functions('write_incidents', 'replace_incidents');
grant execute on function sovereign.replace_incidents to sovereign_app;
