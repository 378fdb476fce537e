-- The functions that write, each behind a claim of the log that it writes to.
drop function sovereign.commit_batch;
drop function sovereign.open_logs;
drop function sovereign.claim_run;
drop function sovereign.abandon_batch;
drop function sovereign.save_checkpoint;

-- Whether an entry is none of those that the installation's log takes in this stream.
create function sovereign.refuses_entry(
  stream text, sequence bigint, previous bytea, bytes bytea
) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  entry json;
  event text;
begin
  begin
    -- A NUL, which an entry may name and a text of the server may not hold, is of no matter here.
    entry := replace(convert_from(bytes, 'UTF8'), '\u0000', '\u0001')::json;
    event := entry ->> 'event_type';
    return coalesce(entry ->> 'stream' <> stream or entry ->> 'tenant_id' <> 'installation'
      or (entry -> 'run_id')::text <> 'null' or entry ->> 'sequence' <> sequence::text
      or entry ->> 'previous_hash' <> encode(previous, 'hex') or event !~ '^[a-z_]+\.[a-z_]+$'
      or case stream
        when 'keys' then event not in ('key.introduced', 'key.rotated', 'key.revoked')
        when 'nodes' then left(event, 5) <> 'node.'
        when 'ledger' then left(event, 7) <> 'ledger.'
        else split_part(event, '.', 1) in ('key', 'node', 'ledger', 'run', 'execution', 'approval',
          'attestation', 'consensus', 'agent')
      end, true);
  exception when data_exception or invalid_text_representation then return true;
  end;
end $$;

-- The one way to write to the ledger, as before, and with a claim for each log. A claim is a MAC over
-- the digest of the whole call, so it is good for this batch alone. For a tenant's log it is named
-- `tenant/` and the log; for the installation's, `installation/` and the stream.
--
-- Refuses the call, with SQLSTATE 42501, where a claim is missing or wrong. Gives no row, and does
-- nothing, where a log is not open yet or the batch was abandoned. A log that another transaction holds
-- for longer than the time limit ends the call (55P03): its batch must not keep other tenants waiting.
create function sovereign.commit_batch(
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
  end if;

  sizes := bases;
  return next;
end $$;

-- The key log can not grow while somebody stays in a transaction that was judged by it. Work of ours
-- takes milliseconds; who stays longer is cut, and what they did not commit is undone.
create function sovereign.end_gate_holders() returns int
language plpgsql volatile security definer
set search_path = pg_catalog, sovereign, pg_temp set client_min_messages = error as $$
declare
  holder int;
  ended int := 0;
begin
  if claimed() is distinct from 'installation/keys' then
    raise exception 'this needs a claim of the key log' using errcode = 'insufficient_privilege';
  end if;
  for holder in
    select l.pid from pg_locks l join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'relation' and l.relation = 'sovereign.key_gate'::regclass
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
      and l.granted and l.pid <> pg_backend_pid()
      and coalesce(a.xact_start, '-infinity') < clock_timestamp() - interval '1 second'
  loop
    begin
      if pg_terminate_backend(holder) then ended := ended + 1; end if;
    exception when insufficient_privilege then null;
    end;
  end loop;
  return ended;
end $$;

-- Make the claimed log before its first commit.
create function sovereign.open_log() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, sovereign, pg_temp
set client_min_messages = error set plan_cache_mode = force_generic_plan as $$
begin
  insert into logs (log_id) values (writing_log(null)) on conflict do nothing;
  insert into claim_keys (name, inner_pad, outer_pad)
  select c, p.inner_pad, p.outer_pad from claimed() c, claim_pads(c) p on conflict do nothing;
end $$;

-- Take a run of the claimed log over: whoever held the fence before can write no more.
create function sovereign.claim_run(claimed_run text) returns bigint
language sql volatile security definer set search_path = pg_catalog, sovereign, pg_temp as $$
  update runs set fence_epoch = fence_epoch + 1, updated_at = now()
  where log_id = writing_log('runs') and run_id = claimed_run returning fence_epoch
$$;

-- Give up a batch whose answer was lost: when this returns, it is there or it will never be. One of the
-- batch's logs is enough, because a batch holds the locks of all of them while it looks.
create function sovereign.abandon_batch(lost text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  log text := writing_log(null);
begin
  perform open_log();
  perform 1 from logs where log_id = log for update;
  insert into abandoned (log_id, batch) values (log, lost) on conflict do nothing;
end $$;

-- SHA-256(0x01 || left || right) up to one root (RFC 6962 §2.1), over a power of two of hashes.
create function sovereign.fold(hashes bytea[]) returns bytea
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  layer bytea[] := hashes;
  one bytea := decode('01', 'hex');
begin
  while cardinality(layer) > 1 loop
    layer := array(select sha256(one || layer[2 * i - 1] || layer[2 * i])
      from generate_series(1, cardinality(layer) / 2) i);
  end loop;
  return layer[1];
end $$;

-- The root of the 2^level leaves from place * 2^level on: a peak of the tree that is known already, a
-- stored node, or what the entries give.
create function sovereign.subtree(log text, level int, place bigint, known_size bigint, known bytea)
returns bytea
language plpgsql stable set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  start bigint := place << level;
  above bigint := known_size >> (level + 1);
  found_hash bytea;
  leaves bytea[];
begin
  if (known_size >> level) & 1 = 1 and start = above << (level + 1) then
    -- As many peaks stand before it as there are larger ones.
    return substr(known, 1 + 32 * length(replace(above::bit(64)::text, '0', '')), 32);
  end if;
  if level % 8 = 0 and level > 0 then
    select n.hash into found_hash from nodes n
    where n.log_id = subtree.log and n.level = subtree.level and n.index = subtree.place;
    if found then return found_hash; end if;
  end if;
  if level <= 8 then
    leaves := array(select sha256(decode('00', 'hex') || e.bytes) from entries e
      where e.log_id = subtree.log and e.index >= start and e.index < start + (1 << level)
      order by e.index);
    if cardinality(leaves) <> 1 << level then
      raise exception 'the log % has a gap after entry %', log, start using errcode = 'data_corrupted';
    end if;
    return fold(leaves);
  end if;
  return sha256(decode('01', 'hex') || subtree(log, level - 1, 2 * place, known_size, known)
    || subtree(log, level - 1, 2 * place + 1, known_size, known));
end $$;

-- Keep a signed head of the claimed log, once its root is that of the log's entries. Entries never
-- change, so nobody has to wait meanwhile.
create function sovereign.save_checkpoint(saved_size bigint, saved_note text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  log text := writing_log('checkpoint');
  known_size bigint := 0;
  known bytea := decode('', 'hex');
  frontier bytea := decode('', 'hex');
  root bytea;
  stands bigint;
  height int := 8;
begin
  select e.index + 1 into stands from entries e where e.log_id = log order by e.index desc limit 1;
  if saved_size is null or saved_size < 0 or saved_size > coalesce(stands, 0)
    or length(saved_note) > 4096
  then
    raise exception 'the log has % entries, the signed head says %', coalesce(stands, 0), saved_size
      using errcode = 'data_corrupted';
  end if;
  if exists (select from checkpoints c where c.log_id = log and c.size = saved_size) then return; end if;
  select c.size, c.frontier into known_size, known from checkpoints c
  where c.log_id = log and c.size < saved_size order by c.size desc limit 1;
  known_size := coalesce(known_size, 0);
  while saved_size >> height > 0 loop
    insert into nodes (log_id, level, index, hash)
    select log, height, i, subtree(log, height, i, known_size, known)
    from generate_series(known_size >> height, (saved_size >> height) - 1) i on conflict do nothing;
    height := height + 8;
  end loop;
  for height in reverse 62 .. 0 loop
    if (saved_size >> height) & 1 = 1 then
      frontier := frontier
        || subtree(log, height, (saved_size >> (height + 1)) << 1, known_size, known);
    end if;
  end loop;
  for at in reverse octet_length(frontier) / 32 - 1 .. 0 loop
    root := coalesce(sha256(decode('01', 'hex') || substr(frontier, 1 + 32 * at, 32) || root),
      substr(frontier, 1 + 32 * at, 32));
  end loop;
  root := coalesce(root, sha256(decode('', 'hex')));
  if split_part(saved_note, E'\n', 2) is distinct from saved_size::text
    or split_part(saved_note, E'\n', 3) is distinct from encode(root, 'base64')
  then
    raise exception 'the signed head of % entries does not say the root of the entries', saved_size
      using errcode = 'data_corrupted';
  end if;
  insert into checkpoints (log_id, size, note, frontier)
  values (log, saved_size, saved_note, frontier) on conflict do nothing;
end $$;

do $$
declare f text;
begin
  foreach f in array array[
    'refuses_entry', 'commit_batch', 'end_gate_holders', 'open_log', 'claim_run', 'abandon_batch', 'fold', 'subtree',
    'save_checkpoint'
  ] loop
    execute format('alter function sovereign.%I owner to sovereign_owner', f);
    execute format('revoke all on function sovereign.%I from public', f);
  end loop;
  foreach f in array array[
    'commit_batch', 'end_gate_holders', 'open_log', 'claim_run', 'abandon_batch',
    'save_checkpoint'
  ] loop
    execute format('grant execute on function sovereign.%I to sovereign_app', f);
  end loop;
end $$;
