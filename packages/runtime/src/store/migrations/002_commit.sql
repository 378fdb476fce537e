-- The one way to write to the ledger. Items are judged and committed together, each with a verdict
-- of its own: one bad item never harms another. No item of a batch shares a stream or a nonce with
-- another item of it; the caller sees to that, and unique indexes hold it.
--
-- Columns come as arrays. `logs` are the batch's logs, each once; `item_…` has one element for each
-- item, `entry_…` one for each entry: its item, its log's place in `logs`, and its place among the
-- batch's entries of that log. The others name the item that they belong to; null means none.
--
-- Gives the logs' sizes before, and each item's refusal (0 for none), or null where all were
-- committed. Gives no row, and does nothing, where a log is not open yet or the batch was abandoned.
create function sovereign.commit_batch(
  logs text[],
  item_log text[], item_stream text[], item_count bigint[], item_head bytea[],
  entry_item int[], entry_log int[], entry_place bigint[], entry_sequence bigint[],
  entry_stream text[], entry_bytes bytea[],
  fence_item int[], fence_run text[], fence_epoch bigint[],
  key_item int[], key_epoch bigint[],
  nonce_item int[], nonce_value text[], nonce_expires text[],
  envelope_item int[], envelope_digest text[], envelope_bytes bytea[],
  rows_written jsonb, batch text
) returns table (sizes bigint[], refusals int[])
language plpgsql volatile security definer
set search_path = sovereign, pg_temp
-- The planner knows neither how long the arrays nor, at first, how large the tables are. Every
-- look-up is by index.
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
#variable_conflict use_column
declare
  refused int[] := array_fill(0, array[cardinality(item_log)]);
  places bigint[] := entry_place;
  bases bigint[];
  locked int;
  keys bigint;
  at int;
begin
  -- While the key log grows, nothing is committed that was judged by it as it was: who writes to
  -- it waits for those who are judged by it, and they for it.
  if 'keys' = any (item_stream) then perform pg_advisory_xact_lock(5306814);
  elsif key_item is not null then perform pg_advisory_xact_lock_shared(5306814); end if;

  -- The lock on a log orders its commits. Locks are taken in order: no deadlocks. The statements
  -- after this one have new snapshots, so they see what the last holder committed.
  perform 1 from logs l where l.log_id = any (commit_batch.logs) order by l.log_id for update;
  get diagnostics locked = row_count;
  if locked < cardinality(commit_batch.logs) then return; end if;
  if (select true from abandoned a where a.batch = commit_batch.batch) then return; end if;

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
      where f.epoch is distinct from (select r.fence_epoch from runs r where r.run_id = f.run_id)
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
      where (select true from nonces u where u.nonce = n.nonce)
    loop if refused[at] = 0 then refused[at] := 4; end if; end loop;
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
    from jsonb_to_recordset(rows_written -> 'runs') as w (item int, run_id text, name text,
      mode text, status text, plan text, plan_digest text, reason text, sealed_count bigint,
      sealed_hash text)
    where refused[w.item] = 0
    on conflict (run_id) do update set status = excluded.status, reason = excluded.reason,
      sealed_count = excluded.sealed_count, sealed_hash = excluded.sealed_hash, updated_at = now();

    insert into steps as t (run_id, step_id, log_id, status, attempt, action_digest, output)
    select w.run_id, w.step_id, item_log[w.item], w.status, w.attempt, w.action_digest,
           decode(w.output, 'base64')
    from jsonb_to_recordset(rows_written -> 'steps') as w (item int, run_id text, step_id text,
      status text, attempt int, action_digest text, output text)
    where refused[w.item] = 0
    on conflict (run_id, step_id) do update set status = excluded.status,
      attempt = excluded.attempt, action_digest = excluded.action_digest,
      output = excluded.output, updated_at = now();
  end if;

  sizes := bases;
  return next;
end $$;

-- Make the logs of a batch before its first commit, in an order, so that no two block each other.
create function sovereign.open_logs(opened text[]) returns void
language sql volatile security definer set search_path = sovereign, pg_temp as $$
  insert into logs (log_id) select l from unnest(opened) l order by l on conflict do nothing
$$;

-- Take a run over: whoever held the fence before can write no more.
create function sovereign.claim_run(claimed text) returns bigint
language sql volatile security definer set search_path = sovereign, pg_temp as $$
  update runs set fence_epoch = fence_epoch + 1, updated_at = now()
  where run_id = claimed returning fence_epoch
$$;

-- Give up a batch whose answer was lost: when this returns, it is there or it will never be.
create function sovereign.abandon_batch(lost text, lost_logs text[]) returns void
language plpgsql volatile security definer set search_path = sovereign, pg_temp as $$
begin
  perform open_logs(lost_logs);
  perform 1 from logs where log_id = any (lost_logs) order by log_id for update;
  insert into abandoned (batch) values (lost) on conflict do nothing;
end $$;

create function sovereign.save_checkpoint(
  saved_log text, saved_size bigint, saved_note text, saved_frontier bytea,
  node_level int[], node_index bigint[], node_hash bytea[]
) returns void
language sql volatile security definer set search_path = sovereign, pg_temp as $$
  insert into nodes (log_id, level, index, hash)
  select saved_log, n.* from unnest(node_level, node_index, node_hash) n on conflict do nothing;
  insert into checkpoints (log_id, size, note, frontier)
  values (saved_log, saved_size, saved_note, saved_frontier) on conflict do nothing;
$$;

do $$
declare f text;
begin
  foreach f in array array[
    'commit_batch', 'open_logs', 'claim_run', 'abandon_batch', 'save_checkpoint'
  ] loop
    execute format('alter function sovereign.%I owner to sovereign_owner', f);
    execute format('revoke all on function sovereign.%I from public', f);
    execute format('grant execute on function sovereign.%I to sovereign_app', f);
  end loop;
end $$;
