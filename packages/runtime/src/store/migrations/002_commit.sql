-- The one way to write to the ledger. Items are judged and committed together, each with a verdict
-- of its own: one bad item never harms another. No item of a batch shares a stream or a nonce with
-- another item of it; the caller sees to that, and unique indexes hold it. All entries' bytes come
-- as one value, from which each is cut by its start (from 1) and length.
create function sovereign.commit_batch(
  item_log text[], item_stream text[], item_count bigint[], item_head text[],
  item_key_epoch bigint[], item_fence_run text[], item_fence_epoch bigint[],
  entry_item int[], entry_hash text[], entry_start int[], entry_length int[], entry_bytes bytea,
  envelope_item int[], envelope_digest text[], envelope_bytes bytea[],
  nonce_item int[], nonce_value text[], nonce_expires text[],
  rows_written jsonb
) returns table (item int, first_index bigint, refusal text)
language plpgsql volatile security definer
set search_path = sovereign, pg_temp
-- The planner cannot know how long the arrays are, and would join them by nested loops. Rows are
-- looked up by scalar subqueries instead, which use the tables' indexes.
set plan_cache_mode = force_generic_plan set enable_nestloop = off set jit = off as $$
begin
  insert into logs (log_id) select distinct l from unnest(item_log) l on conflict do nothing;
  -- The lock on a log's head orders its commits. Locks are taken in order: no deadlocks. The
  -- statement after this one has a new snapshot, so it sees what the last holder committed.
  perform 1 from logs where log_id = any (item_log) order by log_id for update;

  return query with
  entry_counts as materialized (
    select e as ord, count(*) as entries from unnest(entry_item) e group by e
  ),
  used_nonces as materialized (
    select distinct n.ord from unnest(nonce_item, nonce_value) n (ord, value)
    where (select true from nonces u where u.nonce = n.value)
  ),
  items as materialized (
    select i.ord::int as ord, i.log_id, i.stream, i.count, i.head, i.key_epoch, i.fence_run,
           i.fence_epoch, coalesce(c.entries, 0) as entries
    from unnest(item_log, item_stream, item_count, item_head, item_key_epoch, item_fence_run,
                item_fence_epoch)
      with ordinality as i (log_id, stream, count, head, key_epoch, fence_run, fence_epoch, ord)
    left join entry_counts c on c.ord = i.ord
  ),
  judged as materialized (
    select items.*, case
      when not coalesce(
        (select s.count = items.count and s.head_hash = items.head from streams s
          where s.log_id = items.log_id and s.stream = items.stream),
        items.count = 0 and items.head = repeat('0', 64)) then 'stream_conflict'
      when items.fence_run is not null and items.fence_epoch is distinct from
        (select r.fence_epoch from runs r where r.run_id = items.fence_run) then 'fenced'
      when items.key_epoch is not null and items.key_epoch <> coalesce(
        (select k.count from streams k where k.log_id = 'installation' and k.stream = 'keys'), 0)
        then 'key_epoch'
      when u.ord is not null then 'nonce_used'
      end as refusal
    from items left join used_nonces u on u.ord = items.ord
  ),
  placed as materialized (
    select j.*, l.size + coalesce(sum(j.entries) over (
        partition by j.log_id order by j.ord rows between unbounded preceding and 1 preceding
      ), 0)::bigint as start
    from judged j join logs l using (log_id) where j.refusal is null
  ),
  new_entries as materialized (
    select p.log_id, p.stream, p.ord, e.hash,
           substring(entry_bytes from e.start for e.length) as bytes,
           row_number() over (partition by p.ord order by e.pos) - 1 as at, p.start, p.count
    from unnest(entry_item, entry_hash, entry_start, entry_length)
      with ordinality as e (ord, hash, start, length, pos)
    join placed p on p.ord = e.ord
  ),
  write_entries as (
    insert into entries (log_id, index, stream, sequence, hash, leaf, bytes)
    -- The Merkle leaf (RFC 6962 §2.1).
    select n.log_id, n.start + n.at, n.stream, n.count + n.at, n.hash,
           sha256('\x00'::bytea || n.bytes), n.bytes
    from new_entries n
  ),
  write_streams as (
    insert into streams as s (log_id, stream, count, head_hash)
    select distinct on (n.ord) n.log_id, n.stream, n.count + n.at + 1, n.hash
    from new_entries n order by n.ord, n.at desc
    on conflict (log_id, stream) do update
      set count = excluded.count, head_hash = excluded.head_hash
  ),
  write_logs as (
    update logs l set size = l.size + g.added
    from (select p.log_id, sum(p.entries)::bigint as added from placed p group by p.log_id) g
    where l.log_id = g.log_id
  ),
  write_envelopes as (
    insert into envelopes (log_id, digest, bytes)
    select distinct on (p.log_id, e.digest) p.log_id, e.digest, e.bytes
    from unnest(envelope_item, envelope_digest, envelope_bytes) e (ord, digest, bytes)
    join placed p on p.ord = e.ord
    on conflict do nothing
  ),
  write_nonces as (
    insert into nonces (nonce, log_id, expires_at)
    select n.value, p.log_id, n.expires
    from unnest(nonce_item, nonce_value, nonce_expires) n (ord, value, expires)
    join placed p on p.ord = n.ord
  ),
  write_runs as (
    insert into runs as r (run_id, log_id, name, mode, status, plan, plan_digest, reason,
                           sealed_count, sealed_hash)
    select w.run_id, p.log_id, w.name, w.mode, w.status, decode(w.plan, 'base64'), w.plan_digest,
           w.reason, w.sealed_count, w.sealed_hash
    from jsonb_to_recordset(rows_written -> 'runs') as w (item int, run_id text, name text,
      mode text, status text, plan text, plan_digest text, reason text, sealed_count bigint,
      sealed_hash text)
    join placed p on p.ord = w.item
    on conflict (run_id) do update set status = excluded.status, reason = excluded.reason,
      sealed_count = excluded.sealed_count, sealed_hash = excluded.sealed_hash, updated_at = now()
  ),
  write_steps as (
    insert into steps as t (run_id, step_id, log_id, status, attempt, action_digest, output)
    select w.run_id, w.step_id, p.log_id, w.status, w.attempt, w.action_digest,
           decode(w.output, 'base64')
    from jsonb_to_recordset(rows_written -> 'steps') as w (item int, run_id text, step_id text,
      status text, attempt int, action_digest text, output text)
    join placed p on p.ord = w.item
    on conflict (run_id, step_id) do update set status = excluded.status,
      attempt = excluded.attempt, action_digest = excluded.action_digest,
      output = excluded.output, updated_at = now()
  )
  select j.ord, p.start, j.refusal from judged j left join placed p using (ord);
end $$;

-- Take a run over: whoever held the fence before can write no more.
create function sovereign.claim_run(claimed text) returns bigint
language sql volatile security definer set search_path = sovereign, pg_temp as $$
  update runs set fence_epoch = fence_epoch + 1, updated_at = now()
  where run_id = claimed returning fence_epoch
$$;

-- Wait until no commit to the log is under way, so that what is then read is final.
create function sovereign.settle_log(settled text) returns void
language plpgsql volatile security definer set search_path = sovereign, pg_temp as $$
begin
  perform 1 from logs where log_id = settled for update;
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
  foreach f in array array['commit_batch', 'claim_run', 'settle_log', 'save_checkpoint'] loop
    execute format('alter function sovereign.%I owner to sovereign_owner', f);
    execute format('revoke all on function sovereign.%I from public', f);
    execute format('grant execute on function sovereign.%I to sovereign_app', f);
  end loop;
end $$;
