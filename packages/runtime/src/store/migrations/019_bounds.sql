-- What rows may say, by their form and size: a name is no path, and no row is larger than whoever reads it
-- takes. Rows of before keep what they say; where one of them is against a rule, the rule holds for what is
-- written from here on, and for that row once it is changed.
create function sovereign.bound_rows(name text, variadic rules text[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  for at in 1 .. cardinality(rules) loop
    execute format('alter table sovereign.%I add constraint bound_%s check (%s) not valid',
      name, at, rules[at]);
    begin
      execute format('alter table sovereign.%I validate constraint bound_%s', name, at);
    exception when check_violation then null;
    end;
  end loop;
end $$;
-- A text of so many bytes at most.
create function sovereign.at_most(bytes int, variadic columns text[]) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select string_agg(format('octet_length(%I) <= %s', c, bytes), ' and ') from unnest(columns) c
$$;

select sovereign.bound_rows('logs', $$log_id ~ '^[a-z][a-z0-9_.-]{0,62}$'$$);
select sovereign.bound_rows('entries',
  $$stream ~ '^(run_[a-z0-9]{20}|operations|keys|nodes|ledger|scram(/nod_[a-z0-9]{20})?|set-aside/(entries|gap))$'$$,
  'index >= 0 and sequence >= 0 and octet_length(hash) = 32',
  -- What a repair sets aside is as it was.
  $$octet_length(bytes) <= 65535 or left(stream, 10) = 'set-aside/'$$);
select sovereign.amend_commit('if 0 < any (refused) then',
  'if ''set-aside/entries'' = any (entry_stream) or ''set-aside/gap'' = any (entry_stream) then
    raise exception ''only a repair sets aside'' using errcode = ''check_violation'';
  end if;

  ', '');
select sovereign.bound_rows('envelopes', $$digest ~ '^[0-9a-f]{64}$'$$, sovereign.at_most(1500000, 'bytes'));
select sovereign.bound_rows('nonces', sovereign.at_most(100, 'nonce', 'expires_at'));
select sovereign.bound_rows('nodes', 'octet_length(hash) = 32');
select sovereign.bound_rows('checkpoints', sovereign.at_most(65536, 'note', 'frontier'));
select sovereign.bound_rows('abandoned', sovereign.at_most(100, 'batch'));
select sovereign.bound_rows('runs', $$run_id ~ '^run_[a-z0-9]{20}$'$$,
  $$mode in ('sovereign', 'compatible')$$,
  $$status in ('queued', 'running', 'pending', 'completed', 'failed', 'halted')$$,
  'sealed_count > 0 and fence_epoch > 0',
  sovereign.at_most(400, 'name', 'kind', 'idempotency_key'), sovereign.at_most(64, 'plan_digest', 'sealed_hash'),
  sovereign.at_most(65535, 'reason'), sovereign.at_most(16777216, 'plan'));
select sovereign.bound_rows('steps', $$run_id ~ '^run_[a-z0-9]{20}$'$$,
  $$step_id ~ '^[a-z][a-z0-9_.-]{0,126}$'$$,
  $$status in ('running', 'completed', 'failed', 'killed', 'refused')$$,
  sovereign.at_most(64, 'action_digest'), sovereign.at_most(16777216, 'output'));
select sovereign.bound_rows('traces', $$run_id ~ '^run_[a-z0-9]{20}$'$$, $$trace_id ~ '^trc_[a-z0-9]{20}$'$$,
  $$status in ('running', 'completed', 'failed', 'halted')$$,
  sovereign.at_most(64, 'plan_digest', 'started_at', 'completed_at', 'root_hash'));
select sovereign.bound_rows('trace_steps', $$run_id ~ '^run_[a-z0-9]{20}$'$$,
  $$trace_id ~ '^trc_[a-z0-9]{20}$'$$,
  $$status in ('running', 'completed', 'failed', 'killed', 'unknown', 'refused', 'skipped')$$,
  sovereign.at_most(64, 'action_digest', 'input_digest', 'output_digest', 'idempotency_key',
    'started_at', 'ended_at'),
  sovereign.at_most(512, 'step_id', 'skill', 'skill_version', 'category', 'code'),
  sovereign.at_most(16384, 'resource', 'reason'),
  sovereign.at_most(1048576, 'input', 'output', 'artifacts'));
select sovereign.bound_rows('incidents', $$run_id ~ '^run_[a-z0-9]{20}$'$$,
  $$severity in ('INFO', 'WARNING', 'ERROR', 'CRITICAL')$$,
  sovereign.at_most(64, 'raised_at', 'last_at', 'acknowledged_at', 'resolved_at'),
  sovereign.at_most(65535, 'kind', 'subject', 'summary', 'code', 'step_id', 'acknowledged_by',
    'resolved_by', 'note'));
select sovereign.bound_rows('incident_entries', $$incident_id ~ '^inc_[0-9a-f]{20}$'$$,
  $$stream ~ '^(run_[a-z0-9]{20}|operations)$'$$);
select sovereign.bound_rows('budgets', sovereign.at_most(400, 'subject'),
  $$stream ~ '^(run_[a-z0-9]{20}|operations)$'$$);
select sovereign.bound_rows('budget_use', $$scope in ('tenant_month', 'agent_day', 'run')$$,
  sovereign.at_most(400, 'subject', 'period'));
select sovereign.bound_rows('budget_holds', $$run_id ~ '^run_[a-z0-9]{20}$'$$,
  sovereign.at_most(400, 'agent', 'step_id'));
select sovereign.bound_rows('breakers', sovereign.at_most(1024, 'skill', 'host'));
select sovereign.bound_rows('queue', $$run_id ~ '^run_[a-z0-9]{20}$'$$,
  sovereign.at_most(4000, 'node', 'stays', 'contents', 'role', 'worker', 'why'));
select sovereign.bound_rows('tokens',
  'array_ndims(scopes) = 1 and array_lower(scopes, 1) = 1 and array_position(scopes, null) is null
    and octet_length(array_to_string(scopes, '','')) <= 2000',
  'isfinite(expires_at)');

-- A run's folder, and all that has the run's name, is one tenant's. A name is 100 random bits: a second
-- tenant has it from the first alone. What such a one left is set aside.
with copies as (
  delete from sovereign.runs r using (
    select log_id, run_id, row_number() over (partition by run_id order by created_at, log_id) as number
    from sovereign.runs) n
  where n.log_id = r.log_id and n.run_id = r.run_id and n.number > 1 returning r.*
)
insert into sovereign.set_aside (log_id, kind, place, reason, row_was)
select c.log_id, 'run', 0, 'another tenant has a run of this name', to_jsonb(c) from copies c;
create unique index runs_by_id on sovereign.runs (run_id);

drop function sovereign.bound_rows;
drop function sovereign.at_most;
