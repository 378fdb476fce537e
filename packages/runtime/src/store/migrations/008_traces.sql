-- Tables whose rows belong to a log: whoever claims the log reads its rows, and only functions of the
-- owner's write them.
create function sovereign.guard_tables(variadic names text[]) returns void language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
  name text;
begin
  foreach name in array names loop
    execute format('alter table sovereign.%I enable row level security', name);
    execute format('alter table sovereign.%I force row level security', name);
    execute format('create policy claimed_rows on sovereign.%I for select to sovereign_app
      using (log_id = (select sovereign.claimed_log()))', name);
    execute format('create policy owner_rows on sovereign.%I to sovereign_owner
      using (true) with check (true)', name);
    execute format('alter table sovereign.%I owner to sovereign_owner', name);
    execute format('revoke all on sovereign.%I from public', name);
    execute format('grant select on sovereign.%I to sovereign_app', name);
  end loop;
end $$;

-- Functions of the owner's, which nobody else calls without a grant.
create function sovereign.guard_functions(variadic names text[]) returns void language plpgsql volatile
set search_path = pg_catalog, pg_temp as $$
declare
  name text;
begin
  foreach name in array names loop
    execute format('alter function sovereign.%I owner to sovereign_owner', name);
    execute format('revoke all on function sovereign.%I from public', name);
  end loop;
end $$;

-- Statements more in `commit_batch`, before and after a place in it that is there once.
create function sovereign.amend_commit(place text, before text, after text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  known text := pg_get_functiondef('sovereign.commit_batch'::regproc);
begin
  if array_length(string_to_array(known, place), 1) <> 2 then
    raise exception 'commit_batch is not the function that this migration knows';
  end if;
  execute replace(known, place, before || place || after);
end $$;
select sovereign.guard_functions('guard_tables', 'guard_functions', 'amend_commit');

-- Traces: the steps of a run, each whole, written in the commit of the entry that says so. A row is a
-- cache of the ledger for whoever lists and counts; a run's proof holds it against the entries. Texts
-- hold canonical JSON and instants exactly as the entries spell them, so that any change is found.
create table sovereign.traces (
  log_id text collate "C" not null,
  trace_id text collate "C" not null,
  run_id text collate "C" not null,
  plan_digest text not null,
  status text not null,
  started_at text not null,
  completed_at text,
  step_count bigint not null,
  root_hash text,
  primary key (log_id, trace_id)
);
create index traces_by_run on sovereign.traces (log_id, run_id);
create table sovereign.trace_steps (
  log_id text collate "C" not null,
  trace_id text collate "C" not null,
  run_id text collate "C" not null,
  index bigint not null,
  step_id text not null,
  attempt bigint not null,
  skill text not null,
  skill_version text,
  resource text,
  action_digest text,
  input text not null,
  input_digest text,
  output text not null,
  output_digest text,
  artifacts text not null,
  status text not null,
  category text,
  code text,
  reason text,
  cost_microusd bigint not null,
  duration_ms bigint,
  idempotency_key text,
  started_at text not null,
  ended_at text,
  begun_by bigint,
  ended_by bigint,
  primary key (log_id, trace_id, index)
);
create index trace_steps_by_run on sovereign.trace_steps (log_id, run_id);

-- What has ended stays as it is: only what is open may get its end.
create function sovereign.keep_trace() returns trigger language plpgsql
set search_path = pg_catalog, sovereign, pg_temp as $$
begin
  if tg_op = 'UPDATE' and old.status in ('running', 'unknown')
    and new.log_id = old.log_id and new.trace_id = old.trace_id and new.run_id = old.run_id
    and new.started_at = old.started_at
  then
    return new;
  end if;
  raise exception 'a trace keeps what has ended: % on % is refused', tg_op, tg_table_name
    using errcode = 'insufficient_privilege';
end $$;

create trigger keep_trace before update or delete on sovereign.traces
  for each row execute function sovereign.keep_trace();
create trigger no_truncate before truncate on sovereign.traces
  for each statement execute function sovereign.keep_trace();
create trigger keep_trace before update or delete on sovereign.trace_steps
  for each row execute function sovereign.keep_trace();
create trigger no_truncate before truncate on sovereign.trace_steps
  for each statement execute function sovereign.keep_trace();
select sovereign.guard_tables('traces', 'trace_steps');

-- Part of `commit_batch`: the rows of traces, each of the log of its item.
create function sovereign.write_traces(written jsonb, item_log text[], refused int[]) returns void
language plpgsql volatile set search_path = pg_catalog, sovereign, pg_temp as $$
begin
  if not (written ? 'traces') then return; end if;
  insert into traces (log_id, trace_id, run_id, plan_digest, status, started_at, completed_at,
    step_count, root_hash)
  select item_log[w.item], w.trace_id, w.run_id, w.plan_digest, w.status, w.started_at,
    w.completed_at, w.step_count, w.root_hash
  from jsonb_to_recordset(written -> 'traces') as w (item int, trace_id text, run_id text,
    plan_digest text, status text, started_at text, completed_at text, step_count bigint,
    root_hash text)
  where refused[w.item] = 0
  on conflict (log_id, trace_id) do update set status = excluded.status,
    completed_at = excluded.completed_at, step_count = excluded.step_count,
    root_hash = excluded.root_hash;

  insert into trace_steps (log_id, trace_id, run_id, index, step_id, attempt, skill, skill_version,
    resource, action_digest, input, input_digest, output, output_digest, artifacts, status, category,
    code, reason, cost_microusd, duration_ms, idempotency_key, started_at, ended_at, begun_by,
    ended_by)
  select item_log[w.item], w.trace_id, w.run_id, w.index, w.step_id, w.attempt, w.skill,
    w.skill_version, w.resource, w.action_digest, w.input, w.input_digest, w.output,
    w.output_digest, w.artifacts, w.status, w.category, w.code, w.reason, w.cost_microusd,
    w.duration_ms, w.idempotency_key, w.started_at, w.ended_at, w.begun_by, w.ended_by
  from jsonb_to_recordset(written -> 'trace_steps') as w (item int, trace_id text, run_id text,
    index bigint, step_id text, attempt bigint, skill text, skill_version text, resource text,
    action_digest text, input text, input_digest text, output text, output_digest text,
    artifacts text, status text, category text, code text, reason text, cost_microusd bigint,
    duration_ms bigint, idempotency_key text, started_at text, ended_at text, begun_by bigint,
    ended_by bigint)
  where refused[w.item] = 0
  on conflict (log_id, trace_id, index) do update set output = excluded.output,
    output_digest = excluded.output_digest, artifacts = excluded.artifacts,
    status = excluded.status, category = excluded.category, code = excluded.code,
    reason = excluded.reason, cost_microusd = excluded.cost_microusd,
    duration_ms = excluded.duration_ms, ended_at = excluded.ended_at, ended_by = excluded.ended_by;
end $$;

-- As before, and it writes traces. A claim covers them: they are part of the rows that it is made over.
create or replace function sovereign.commit_batch(
  logs text[],
  item_log text[], item_stream text[], item_count bigint[], item_head bytea[],
  entry_item int[], entry_log int[], entry_place bigint[], entry_sequence bigint[],
  entry_stream text[], entry_bytes bytea[],
  fence_item int[], fence_run text[], fence_epoch bigint[],
  key_item int[], key_epoch bigint[],
  nonce_item int[], nonce_value text[], nonce_expires text[],
  envelope_item int[], envelope_digest text[], envelope_bytes bytea[],
  rows_written text, batch text,
  claim_name text[], claim_mac bytea[]
) returns table (sizes bigint[], refusals int[])
language plpgsql volatile security definer
set search_path = pg_catalog, sovereign, pg_temp
set client_min_messages = error set lock_timeout = '2s'
-- The planner knows neither how long the arrays nor, at first, how large the tables are. Every
-- look-up is by index.
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
#variable_conflict use_column
declare
  none bytea := decode('00', 'hex');
  refused int[] := array_fill(0, array[cardinality(item_log)]);
  places bigint[] := entry_place;
  bases bigint[];
  heads bytea[];
  counts bigint[];
  one record;
  message bytea;
  unopened int;
  wrong boolean;
  locked int;
  keys bigint;
  at int;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'the commit is judged by what is committed: read committed is needed'
      using errcode = 'insufficient_privilege';
  end if;

  -- The digest of the call: each column in the binary form in which it came.
  message := convert_to('sovereign.batch/', 'UTF8') || sha256(
    sha256(array_send(entry_bytes)) || sha256(coalesce(array_send(envelope_bytes), none))
    || array_send(commit_batch.logs) || array_send(item_log) || array_send(item_stream)
    || array_send(item_count) || array_send(item_head) || array_send(entry_item)
    || array_send(entry_log) || array_send(entry_place) || array_send(entry_sequence)
    || array_send(entry_stream) || coalesce(array_send(fence_item), none)
    || coalesce(array_send(fence_run), none) || coalesce(array_send(fence_epoch), none)
    || coalesce(array_send(key_item), none) || coalesce(array_send(key_epoch), none)
    || coalesce(array_send(nonce_item), none) || coalesce(array_send(nonce_value), none)
    || coalesce(array_send(nonce_expires), none) || coalesce(array_send(envelope_item), none)
    || coalesce(array_send(envelope_digest), none)
    || sha256(convert_to(coalesce(rows_written, ''), 'UTF8')) || convert_to(batch, 'UTF8'));
  select count(*) filter (where k.name is null), coalesce(bool_or(
      sha256(c.mac) is distinct from sha256(sha256(k.outer_pad || sha256(k.inner_pad || message))))
    filter (where k.name is not null), false)
  into unopened, wrong
  from unnest(claim_name, claim_mac) c (name, mac) left join claim_keys k on k.name = c.name;
  if unopened > 0 then
    wrong := wrong or exists (
      select from unnest(claim_name, claim_mac) c (name, mac), claim_pads(c.name) p
      where sha256(c.mac) is distinct from sha256(sha256(p.outer_pad || sha256(p.inner_pad || message))));
  end if;
  -- One tenant's batch, which most are, is compared at once.
  if cardinality(commit_batch.logs) = 1 and commit_batch.logs[1] <> 'installation' then
    wrong := wrong or claim_name <> array['tenant/' || commit_batch.logs[1]]
      or item_log <> array_fill(commit_batch.logs[1], array[cardinality(item_log)]);
  else
    wrong := wrong or exists (select unnest(item_log) except select unnest(commit_batch.logs))
      or exists (
        select l from unnest(commit_batch.logs) l where l <> 'installation'
        except select substr(c, 8) from unnest(claim_name) c where left(c, 7) = 'tenant/')
      or exists (
        select from unnest(item_log, item_stream) i (log, stream)
        where i.log = 'installation' and (
          i.stream !~ '^(keys|nodes|ledger|scram(/nod_[a-z0-9]{20})?)$'
          or 'installation/' || i.stream <> all (claim_name)));
  end if;
  if coalesce(wrong, true) then
    raise exception 'a claim is missing or is not one for this batch'
      using errcode = 'insufficient_privilege';
  end if;
  if unopened > 0 then return; end if;

  -- While the key log grows, nothing is committed that was judged by it as it was: who writes to
  -- it waits for those who are judged by it, and they for it.
  if 'installation' = any (commit_batch.logs) and 'keys' = any (item_stream) then
    -- Shorter than others wait for it.
    perform set_config('lock_timeout', '1s', true);
    lock table key_gate in exclusive mode;
    perform set_config('lock_timeout', '2s', true);
  elsif key_item is not null then
    lock table key_gate in row share mode;
  end if;

  -- The lock on a log orders its commits. Locks are taken in order: no deadlocks. The statements
  -- after this one have new snapshots, so they see what the last holder committed.
  if cardinality(commit_batch.logs) = 1 then
    perform 1 from logs l where l.log_id = commit_batch.logs[1] for update;
    get diagnostics locked = row_count;
  else
    -- Who holds the lock of one log must not keep the tenants of the others waiting: it is named, and
    -- the batch comes again without it.
    begin
      perform 1 from logs l where l.log_id = any (commit_batch.logs) order by l.log_id for update;
      get diagnostics locked = row_count;
    exception when lock_not_available then
      raise exception 'another transaction holds a log of this batch' using errcode = '55P03',
        detail = (select json_agg(h.log_id) from (
          select unnest(commit_batch.logs)
          except select f.log_id from (
            select l.log_id from logs l where l.log_id = any (commit_batch.logs) for update skip locked
          ) f) as h (log_id))::text;
    end;
  end if;
  if locked < cardinality(commit_batch.logs) then return; end if;
  if (select true from abandoned a
      where a.log_id = any (commit_batch.logs) and a.batch = commit_batch.batch limit 1)
  then return; end if;

  select array_agg(coalesce(
      (select e.index + 1 from entries e where e.log_id = l.log_id order by e.index desc limit 1), 0)
    order by l.at)
  into bases from unnest(commit_batch.logs) with ordinality l (log_id, at);

  -- 1: the stream does not stand where the writer thought.
  for at in
    select i.at from (
      select generate_subscripts(item_log, 1) as at, unnest(item_log) as log_id,
        unnest(item_stream) as stream, unnest(item_count) as count, unnest(item_head) as head
    ) i
    left join lateral (
      select e.sequence + 1 as count, e.hash from entries e
      where e.log_id = i.log_id and e.stream = i.stream and e.sequence >= i.count - 1
      order by e.sequence desc limit 1
    ) e on true
    where i.count <> coalesce(e.count, 0) or i.head <> coalesce(e.hash, decode(repeat('00', 32), 'hex'))
  loop refused[at] := 1; end loop;

  -- 2: another process has taken the run over.
  if fence_item is not null then
    for at in
      select f.item from (
        select unnest(fence_item) as item, unnest(fence_run) as run_id, unnest(fence_epoch) as epoch
      ) f
      where f.epoch is distinct from (select r.fence_epoch from runs r
        where r.log_id = item_log[f.item] and r.run_id = f.run_id)
    loop if refused[at] = 0 then refused[at] := 2; end if; end loop;
  end if;

  -- 3: the key log has grown since the signatures were judged.
  if key_item is not null then
    keys := coalesce((select e.sequence + 1 from entries e
      where e.log_id = 'installation' and e.stream = 'keys' order by e.sequence desc limit 1), 0);
    for at in
      select k.item from (select unnest(key_item) as item, unnest(key_epoch) as epoch) k
      where k.epoch <> keys
    loop if refused[at] = 0 then refused[at] := 3; end if; end loop;
  end if;

  -- 4: a signed permission was used before.
  if nonce_item is not null then
    for at in
      select n.item from (select unnest(nonce_item) as item, unnest(nonce_value) as nonce) n
      where (select true from nonces u where u.log_id = item_log[n.item] and u.nonce = n.nonce)
    loop if refused[at] = 0 then refused[at] := 4; end if; end loop;
  end if;

  -- 5: the installation's log takes nothing but what its rules allow.
  if 'installation' = any (commit_batch.logs) then
    heads := item_head;
    counts := item_count;
    for one in
      select e.item, e.sequence, e.stream, e.bytes
      from unnest(entry_item, entry_log, entry_sequence, entry_stream, entry_bytes)
        with ordinality e (item, log, sequence, stream, bytes, at)
      where commit_batch.logs[e.log] = 'installation' order by e.at
    loop
      if item_log[one.item] is distinct from 'installation' then
        raise exception 'an entry stands in another log than its item'
          using errcode = 'insufficient_privilege';
      end if;
      if item_stream[one.item] <> one.stream or counts[one.item] <> one.sequence
        or refuses_entry(one.stream, one.sequence, heads[one.item], one.bytes)
      then refused[one.item] := 5; end if;
      heads[one.item] := sha256(one.bytes);
      counts[one.item] := one.sequence + 1;
    end loop;
    for at in
      select i.at from generate_subscripts(item_log, 1) i (at)
      where item_log[i.at] = 'installation' and (
        i.at <> all (entry_item) or i.at = any (nonce_item) or i.at = any (fence_item)
        or exists (select from unnest(envelope_item, envelope_digest, envelope_bytes)
          v (item, digest, bytes)
          where v.item = i.at and v.digest is distinct from encode(sha256(v.bytes), 'hex')))
    loop refused[at] := 5; end loop;
  end if;

  if 0 < any (refused) then
    -- What is refused leaves no gap in its log.
    select array_agg(p.place order by p.at) into places from (
      select e.at, sum((refused[e.item] = 0)::int) over (partition by e.log order by e.at) - 1 as place
      from unnest(entry_item, entry_log) with ordinality e (item, log, at)
    ) p;
    refusals := refused;
  end if;

  insert into entries (log_id, index, stream, sequence, hash, bytes)
  select commit_batch.logs[e.log], bases[e.log] + e.place, e.stream, e.sequence, sha256(e.bytes), e.bytes
  from (
    select unnest(entry_item) as item, unnest(entry_log) as log, unnest(places) as place,
      unnest(entry_sequence) as sequence, unnest(entry_stream) as stream, unnest(entry_bytes) as bytes
  ) e
  where refused[e.item] = 0;

  if nonce_item is not null then
    insert into nonces (nonce, log_id, expires_at)
    select n.nonce, item_log[n.item], n.expires from (
      select unnest(nonce_item) as item, unnest(nonce_value) as nonce, unnest(nonce_expires) as expires
    ) n
    where refused[n.item] = 0;
  end if;

  if envelope_item is not null then
    insert into envelopes (log_id, digest, bytes)
    select item_log[e.item], e.digest, e.bytes from (
      select unnest(envelope_item) as item, unnest(envelope_digest) as digest,
        unnest(envelope_bytes) as bytes
    ) e
    where refused[e.item] = 0
    on conflict do nothing;
  end if;

  if rows_written is not null then
    insert into runs as r (run_id, log_id, name, mode, status, plan, plan_digest, reason,
                           sealed_count, sealed_hash)
    select w.run_id, item_log[w.item], w.name, w.mode, w.status, decode(w.plan, 'base64'),
           w.plan_digest, w.reason, w.sealed_count, w.sealed_hash
    from jsonb_to_recordset(rows_written::jsonb -> 'runs') as w (item int, run_id text, name text,
      mode text, status text, plan text, plan_digest text, reason text, sealed_count bigint,
      sealed_hash text)
    where refused[w.item] = 0
    on conflict (log_id, run_id) do update set status = excluded.status, reason = excluded.reason,
      sealed_count = excluded.sealed_count, sealed_hash = excluded.sealed_hash, updated_at = now();

    insert into steps as t (run_id, step_id, log_id, status, attempt, action_digest, output)
    select w.run_id, w.step_id, item_log[w.item], w.status, w.attempt, w.action_digest,
           decode(w.output, 'base64')
    from jsonb_to_recordset(rows_written::jsonb -> 'steps') as w (item int, run_id text, step_id text,
      status text, attempt int, action_digest text, output text)
    where refused[w.item] = 0
    on conflict (log_id, run_id, step_id) do update set status = excluded.status,
      attempt = excluded.attempt, action_digest = excluded.action_digest,
      output = excluded.output, updated_at = now();

    perform write_traces(rows_written::jsonb, item_log, refused);
  end if;

  sizes := bases;
  return next;
end $$;

select sovereign.guard_functions('keep_trace', 'write_traces');
