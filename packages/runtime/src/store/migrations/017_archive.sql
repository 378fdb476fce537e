-- Archives: the bytes of old entries may leave the database for a file. The row of each entry stays for
-- ever, with its place, its hash and the leaf that the Merkle tree has of it, so streams, heads and proofs
-- go on as before.
alter table sovereign.entries alter column bytes drop not null,
  add column leaf bytea check (octet_length(leaf) = 32),
  add constraint bytes_or_leaf check ((bytes is null) <> (leaf is null));
-- An envelope that left names the entry that names it: by that entry its archive is found.
alter table sovereign.envelopes alter column bytes drop not null,
  add column archived_index bigint,
  add constraint bytes_or_index check ((bytes is null) <> (archived_index is null));

-- An archive that was recorded by `ledger.archived`, at `recorded_index` of the installation's log.
create table sovereign.archives (
  log_id text collate "C" not null check (log_id <> 'installation'),
  digest text collate "C" not null check (digest ~ '^[0-9a-f]{64}$'),
  recorded_index bigint not null,
  primary key (log_id, digest)
);
-- The runs that it holds, each whole: how many entries, and the hash of the last, which is its seal.
create table sovereign.archived_streams (
  log_id text collate "C" not null,
  stream text collate "C" not null check (stream ~ '^run_[a-z0-9]{20}$'),
  digest text collate "C" not null,
  count bigint not null check (count > 0),
  head bytea not null,
  primary key (log_id, stream, digest),
  foreign key (log_id, digest) references sovereign.archives deferrable initially deferred
);
select sovereign.guard_tables('archives', 'archived_streams');
do $$
declare name text;
begin
  foreach name in array array['archives', 'archived_streams'] loop
    execute format(
      'create trigger append_only before update or delete on sovereign.%I
         for each row execute function sovereign.refuse_change()', name);
    execute format(
      'create trigger no_truncate before truncate on sovereign.%I
         for each statement execute function sovereign.refuse_change()', name);
  end loop;
end $$;

-- What a signed `ledger.archived` says of an archive's runs: SHA-256 over a line for each.
create function sovereign.streams_digest(log text, archive text) returns text
language sql stable set search_path = pg_catalog, sovereign, pg_temp as $$
  select encode(sha256(convert_to(coalesce(string_agg(
      s.stream || ' ' || s.count || ' ' || encode(s.head, 'hex') || E'\n', '' order by s.stream), ''),
    'UTF8')), 'hex')
  from archived_streams s where s.log_id = log and s.digest = archive
$$;

-- The data of the entry that records an archive; null where it is no such entry.
create function sovereign.said_of_archive(at bigint) returns json
language sql stable set search_path = pg_catalog, sovereign, pg_temp as $$
  select r.entry -> 'data' from (
    select convert_from(e.bytes, 'UTF8')::json as entry from entries e
    where e.log_id = 'installation' and e.index = at
  ) r where r.entry ->> 'event_type' = 'ledger.archived'
$$;

-- Judged at the end of a transaction, so that it holds also for one that loads a backup, table by table.
create function sovereign.check_archive() returns trigger language plpgsql security definer
set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  said json := said_of_archive(new.recorded_index);
begin
  if said is null or said ->> 'tenant_id' is distinct from new.log_id
    or said ->> 'archive' is distinct from new.digest
    or said ->> 'streams' is distinct from streams_digest(new.log_id, new.digest)
    or not exists (select from checkpoints c
      where c.log_id = 'installation' and c.size > new.recorded_index)
    or not exists (select from checkpoints c
      where c.log_id = new.log_id and c.size > (said ->> 'last_index')::bigint)
  then
    raise exception 'no signed entry records this archive: %', new.digest
      using errcode = 'insufficient_privilege';
  end if;
  return null;
end $$;

create function sovereign.check_archived_stream() returns trigger language plpgsql security definer
set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  last record;
begin
  -- No run is added to an archive that was recorded before.
  if (select a.xmin from archives a where a.log_id = new.log_id and a.digest = new.digest)
    is distinct from (select s.xmin from archived_streams s
      where s.log_id = new.log_id and s.stream = new.stream and s.digest = new.digest)
  then
    raise exception 'the archive does not hold the run %', new.stream
      using errcode = 'insufficient_privilege';
  end if;
  select e.hash, e.bytes into last from entries e
  where e.log_id = new.log_id and e.stream = new.stream and e.sequence = new.count - 1;
  if last.hash is distinct from new.head
    or last.bytes is not null
      and convert_from(last.bytes, 'UTF8')::json ->> 'event_type' is distinct from 'run.sealed'
    or new.count <> (select count(*) from entries e
      where e.log_id = new.log_id and e.stream = new.stream and e.sequence < new.count)
  then
    raise exception 'the run % is not sealed there', new.stream
      using errcode = 'insufficient_privilege';
  end if;
  return null;
end $$;

create constraint trigger recorded after insert on sovereign.archives
  deferrable initially deferred for each row execute function sovereign.check_archive();
create constraint trigger recorded after insert on sovereign.archived_streams
  deferrable initially deferred for each row execute function sovereign.check_archived_stream();

-- As before, and the owner's functions below take out what a recorded archive holds, and put back what the
-- row's own hash says.
create or replace function sovereign.refuse_change() returns trigger language plpgsql
set search_path = pg_catalog, sovereign, pg_temp as $$
begin
  if tg_op = 'DELETE' and tg_table_name in ('checkpoints', 'nodes') then
    if exists (select from set_aside s where s.log_id = old.log_id and s.row_was = to_jsonb(old)) then
      return old;
    end if;
  end if;
  if tg_op = 'UPDATE' and tg_table_name = 'entries' then
    if new.log_id = old.log_id and new.index = old.index and new.hash = old.hash
      and new.bytes is not distinct from old.bytes and new.leaf is not distinct from old.leaf
      and left(new.stream, 10) = 'set-aside/'
      and exists (select from set_aside s
        where s.log_id = old.log_id and s.kind = 'entry' and s.place = old.index)
    then
      return new;
    end if;
    if current_user = 'sovereign_owner' and new.log_id = old.log_id and new.index = old.index
      and new.stream = old.stream and new.sequence = old.sequence and new.hash = old.hash
    then
      if old.bytes is not null and new.bytes is null and old.hash = sha256(old.bytes)
        and new.leaf = sha256(decode('00', 'hex') || old.bytes)
        and exists (select from archived_streams s
          where s.log_id = old.log_id and s.stream = old.stream and s.count > old.sequence)
      then
        return new;
      end if;
      if old.bytes is null and new.bytes is not null and new.leaf is null
        and old.hash = sha256(new.bytes) and old.leaf = sha256(decode('00', 'hex') || new.bytes)
      then
        return new;
      end if;
    end if;
  end if;
  if tg_op = 'UPDATE' and tg_table_name = 'envelopes' then
    if current_user = 'sovereign_owner' and new.log_id = old.log_id and new.digest = old.digest then
      if old.bytes is not null and new.bytes is null and old.digest = encode(sha256(old.bytes), 'hex')
        and exists (
          select from entries e join archived_streams s
            on s.log_id = e.log_id and s.stream = e.stream and s.count > e.sequence
          where e.log_id = old.log_id and e.index = new.archived_index
            and position(convert_to(old.digest, 'UTF8') in e.bytes) > 0)
      then
        return new;
      end if;
      if old.bytes is null and new.bytes is not null and new.archived_index is null
        and old.digest = encode(sha256(new.bytes), 'hex')
      then
        return new;
      end if;
    end if;
  end if;
  raise exception 'evidence is append-only: % on % is refused', tg_op, tg_table_name
    using errcode = 'insufficient_privilege';
end $$;

-- The root of the 2^level leaves from place * 2^level on, as before; a leaf without bytes is kept as such.
create or replace function sovereign.subtree(
  log text, level int, place bigint, known_size bigint, known bytea
) returns bytea
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
    leaves := array(select coalesce(e.leaf, sha256(decode('00', 'hex') || e.bytes)) from entries e
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

-- Record which runs an archive holds, once the entry that says so stands under a signed head. Done twice
-- it is done. Refuses a run that has grown, is at work or has an incident that is not resolved.
create function sovereign.record_archive(
  log text, archive text, at bigint, runs text[], counts bigint[], heads bytea[]
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, sovereign, pg_temp
set lock_timeout = '10s' as $$
declare
  loose text;
begin
  perform 1 from logs l where l.log_id = log for update;
  if exists (select from archives a where a.log_id = log and a.digest = archive) then return; end if;
  select r.run into loose from unnest(runs, counts) r (run, count)
  where exists (select from entries e
      where e.log_id = log and e.stream = r.run and e.sequence >= r.count)
    or exists (select from sovereign.runs w where w.log_id = log and w.run_id = r.run
      and w.status in ('queued', 'running', 'pending'))
    or exists (select from incidents i
      where i.log_id = log and i.state <> 'resolved' and i.run_id = r.run)
    or exists (select from incident_entries n join incidents i using (log_id, incident_id)
      where n.log_id = log and n.stream = r.run and i.state <> 'resolved')
  limit 1;
  if loose is not null then
    raise exception 'the run % is not one to archive', loose using errcode = 'object_in_use';
  end if;
  insert into archives (log_id, digest, recorded_index) values (log, archive, at);
  insert into archived_streams (log_id, stream, digest, count, head)
  select log, r.run, archive, r.count, r.head from unnest(runs, counts, heads) r (run, count, head);
  set constraints all immediate;
end $$;

-- The one way by which bytes leave. What no recorded archive holds, the triggers refuse.
create function sovereign.take_out(
  log text, indices bigint[], envelope_digests text[], envelope_indices bigint[]
) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, sovereign, pg_temp
set plan_cache_mode = force_custom_plan as $$
declare
  taken bigint;
begin
  update envelopes v set bytes = null, archived_index = u.at
  from unnest(envelope_digests, envelope_indices) u (digest, at)
  where v.log_id = log and v.digest = u.digest and v.bytes is not null;
  update entries e set bytes = null, leaf = sha256(decode('00', 'hex') || e.bytes)
  where e.log_id = log and e.index = any (indices) and e.bytes is not null;
  get diagnostics taken = row_count;
  return taken;
end $$;

-- The one way by which they come back. Each is held against the hash that never left.
create function sovereign.put_back(
  log text, indices bigint[], entry_bytes bytea[], envelope_digests text[], envelope_bytes bytea[]
) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, sovereign, pg_temp
set plan_cache_mode = force_custom_plan as $$
declare
  put bigint;
begin
  update envelopes v set bytes = u.bytes, archived_index = null
  from unnest(envelope_digests, envelope_bytes) u (digest, bytes)
  where v.log_id = log and v.digest = u.digest and v.bytes is null;
  update entries e set bytes = u.bytes, leaf = null
  from unnest(indices, entry_bytes) u (index, bytes)
  where e.log_id = log and e.index = u.index and e.bytes is null;
  get diagnostics put = row_count;
  return put;
end $$;

select sovereign.guard_functions('streams_digest', 'said_of_archive', 'check_archive',
  'check_archived_stream', 'record_archive', 'take_out', 'put_back');
