-- Budgets of tenants, agents and runs. What a step may use is held in the commit that authorises it, under
-- the lock of its log, so no race between processes spends more than there is. What it used is counted in
-- the commit of its end. A hold whose process died stays held: nobody knows what was used.
create table sovereign.budgets (
  log_id text collate "C" not null,
  scope text not null check (scope in ('tenant_month', 'agent_day', 'run')),
  subject text collate "C" not null,
  microusd bigint check (microusd > 0),
  tokens bigint check (tokens > 0),
  steps bigint check (steps > 0),
  ms bigint check (ms > 0),
  stream text not null,
  sequence bigint not null,
  primary key (log_id, scope, subject)
);
create table sovereign.budget_use (
  log_id text collate "C" not null,
  scope text not null,
  subject text collate "C" not null,
  period text collate "C" not null,
  held_microusd bigint not null,
  held_tokens bigint not null,
  held_steps bigint not null,
  held_ms bigint not null,
  used_microusd bigint not null default 0,
  used_tokens bigint not null default 0,
  used_steps bigint not null default 0,
  used_ms bigint not null default 0,
  primary key (log_id, scope, subject, period)
);
create table sovereign.budget_holds (
  log_id text collate "C" not null,
  run_id text collate "C" not null,
  step_id text collate "C" not null,
  attempt bigint not null,
  agent text collate "C" not null,
  microusd bigint not null check (microusd >= 0),
  tokens bigint not null check (tokens >= 0),
  ms bigint not null check (ms >= 0),
  held_at text not null check (held_at ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$'),
  used_microusd bigint check (used_microusd >= 0),
  used_tokens bigint check (used_tokens >= 0),
  used_ms bigint,
  primary key (log_id, run_id, step_id, attempt)
);

select sovereign.guard_tables('budgets', 'budget_use', 'budget_holds');

-- Part of `commit_batch`, after all other judgements: holds what each item asks for. An item for which a
-- budget has no room is refused with 100, 10 for each scope, and 1 for each unit; it holds nothing.
create function sovereign.hold_budgets(written jsonb, item_log text[], refused int[]) returns int[]
language plpgsql volatile set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  one record;
  lack int;
begin
  for one in
    select w.* from rows from (jsonb_to_recordset(written -> 'holds') as (item int, run_id text,
      step_id text, attempt bigint, agent text, microusd bigint, tokens bigint, ms bigint,
      held_at text)) with ordinality w
    where refused[w.item] = 0 order by w.ordinality
  loop
    select min(100 + 10 * s.place + case
        when coalesce(u.held_microusd + u.used_microusd, 0) + one.microusd > b.microusd then 0
        when coalesce(u.held_tokens + u.used_tokens, 0) + one.tokens > b.tokens then 1
        when coalesce(u.held_steps + u.used_steps, 0) + 1 > b.steps then 2
        when coalesce(u.held_ms + u.used_ms, 0) + one.ms > b.ms then 3
      end)
    into lack
    from (values (0, 'tenant_month', '', left(one.held_at, 7)),
      (1, 'agent_day', one.agent, left(one.held_at, 10)), (2, 'run', one.run_id, ''))
      s (place, scope, subject, period)
    join budgets b on b.log_id = item_log[one.item] and b.scope = s.scope and b.subject = s.subject
    left join budget_use u on u.log_id = b.log_id and u.scope = b.scope and u.subject = b.subject
      and u.period = s.period;
    if lack is not null then
      refused[one.item] := lack;
      continue;
    end if;
    insert into budget_holds (log_id, run_id, step_id, attempt, agent, microusd, tokens, ms, held_at)
    values (item_log[one.item], one.run_id, one.step_id, one.attempt, one.agent, one.microusd,
      one.tokens, one.ms, one.held_at);
    insert into budget_use as u (log_id, scope, subject, period, held_microusd, held_tokens,
      held_steps, held_ms)
    select item_log[one.item], s.scope, s.subject, s.period, one.microusd, one.tokens, 1, one.ms
    from (values ('tenant_month', '', left(one.held_at, 7)),
      ('agent_day', one.agent, left(one.held_at, 10)), ('run', one.run_id, ''))
      s (scope, subject, period)
    on conflict (log_id, scope, subject, period) do update set
      held_microusd = u.held_microusd + excluded.held_microusd,
      held_tokens = u.held_tokens + excluded.held_tokens,
      held_steps = u.held_steps + excluded.held_steps, held_ms = u.held_ms + excluded.held_ms;
  end loop;
  return refused;
end $$;

-- Part of `commit_batch`: what ended used this much. Where nobody knows, it used what was held. Settled
-- once: a second end changes nothing.
create function sovereign.write_budgets(
  written jsonb, item_log text[], item_stream text[], item_count bigint[], refused int[]
) returns void
language plpgsql volatile set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  one record;
  hold budget_holds;
begin
  insert into budgets (log_id, scope, subject, microusd, tokens, steps, ms, stream, sequence)
  select item_log[w.item], w.scope, w.subject, w.microusd, w.tokens, w.steps, w.ms,
    item_stream[w.item], item_count[w.item]
  from jsonb_to_recordset(written -> 'budgets') as w (item int, scope text, subject text,
    microusd bigint, tokens bigint, steps bigint, ms bigint)
  where refused[w.item] = 0
  on conflict (log_id, scope, subject) do update set microusd = excluded.microusd,
    tokens = excluded.tokens, steps = excluded.steps, ms = excluded.ms, stream = excluded.stream,
    sequence = excluded.sequence;

  for one in
    select w.* from rows from (jsonb_to_recordset(written -> 'settled') as (item int, run_id text,
      step_id text, attempt bigint, microusd bigint, tokens bigint, ended_at text)) with ordinality w
    where refused[w.item] = 0 order by w.ordinality
  loop
    update budget_holds h set used_microusd = coalesce(one.microusd, h.microusd),
      used_tokens = coalesce(one.tokens, h.tokens),
      used_ms = least(h.ms, greatest(0, round(1000 * extract(epoch from
        one.ended_at::timestamptz - h.held_at::timestamptz))))
    where h.log_id = item_log[one.item] and h.run_id = one.run_id and h.step_id = one.step_id
      and h.attempt = one.attempt and h.used_ms is null
    returning * into hold;
    continue when not found;
    update budget_use u set held_microusd = u.held_microusd - hold.microusd,
      held_tokens = u.held_tokens - hold.tokens, held_steps = u.held_steps - 1,
      held_ms = u.held_ms - hold.ms, used_microusd = u.used_microusd + hold.used_microusd,
      used_tokens = u.used_tokens + hold.used_tokens, used_steps = u.used_steps + 1,
      used_ms = u.used_ms + hold.used_ms
    where u.log_id = hold.log_id and (u.scope, u.subject, u.period) in (
      values ('tenant_month', '', left(hold.held_at, 7)),
        ('agent_day', hold.agent, left(hold.held_at, 10)), ('run', hold.run_id, ''));
  end loop;
end $$;

-- One judgement more in `commit_batch`, and one statement more after the one that writes traces.
select sovereign.amend_commit('if 0 < any (refused) then',
  'if strpos(rows_written, ''"holds":['') > 0 then
    refused := hold_budgets(rows_written::jsonb, item_log, refused);
  end if;

  ', '');
select sovereign.amend_commit('perform write_traces(rows_written::jsonb, item_log, refused);', '', '
    if strpos(rows_written, ''"settled":['') > 0 or strpos(rows_written, ''"budgets":['') > 0 then
      perform write_budgets(rows_written::jsonb, item_log, item_stream, item_count, refused);
    end if;');

select sovereign.guard_functions('hold_budgets', 'write_budgets');
