-- The border between tenants. A connection of the application role may send any SQL. It reads and
-- writes the rows of a log only with a claim that is made with that log's secret, which the role
-- cannot read. The client derives a secret as this schema does: see docs/spec/ledger.md "Claims".
create table sovereign.claim_secret (
  only_one boolean primary key default true check (only_one),
  secret bytea not null check (octet_length(secret) = 32)
);
-- HMAC's padded keys of the claims that write, so that a commit derives none.
create table sovereign.claim_keys (
  name text collate "C" primary key,
  inner_pad bytea not null,
  outer_pad bytea not null
);
-- Locked while the key log grows. An advisory lock could be held by anybody, for as long as they like.
create table sovereign.key_gate ();

-- A run, a step, a nonce and an abandoned batch belong to a tenant: nobody can use up another's.
alter table sovereign.nonces drop constraint nonces_pkey, add primary key (log_id, nonce);
alter table sovereign.runs drop constraint runs_pkey, add primary key (log_id, run_id);
alter table sovereign.steps drop constraint steps_pkey, add primary key (log_id, run_id, step_id);
drop table sovereign.abandoned;
create table sovereign.abandoned (
  log_id text collate "C" not null,
  batch text collate "C" not null,
  primary key (log_id, batch)
);
do $$
declare name text;
begin
  foreach name in array array['claim_secret', 'claim_keys', 'key_gate', 'abandoned'] loop
    execute format('alter table sovereign.%I owner to sovereign_owner', name);
    execute format('revoke all on sovereign.%I from public, sovereign_app', name);
  end loop;
end $$;

-- A key of HMAC-SHA-256 (RFC 2104) of at most 64 bytes, padded: 54 for the inner, 92 for the outer.
create function sovereign.hmac_pad(key bytea, filler int) returns bytea
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select string_agg(set_byte(decode('00', 'hex'), 0,
    filler # case when i < octet_length(key) then get_byte(key, i) else 0 end), decode('', 'hex') order by i)
  from generate_series(0, 63) i
$$;

-- The padded keys of a claim: HKDF-Expand (RFC 5869) of the installation's secret.
create function sovereign.claim_pads(claim text, out inner_pad bytea, out outer_pad bytea)
language plpgsql stable set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  key bytea;
begin
  select k.inner_pad, k.outer_pad into inner_pad, outer_pad from claim_keys k where k.name = claim;
  if found then return; end if;
  select sha256(hmac_pad(s.secret, 92) || sha256(hmac_pad(s.secret, 54)
    || convert_to('sovereign.claim/' || claim, 'UTF8') || decode('01', 'hex')))
  into strict key from claim_secret s;
  inner_pad := hmac_pad(key, 54);
  outer_pad := hmac_pad(key, 92);
end $$;

-- What a claim for this transaction is made over: no other transaction has it, so a claim that is seen
-- is of no use, and no clock is compared with another.
create function sovereign.challenge() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select pg_backend_pid()::text || '.'
    || (extract(epoch from transaction_timestamp()) * 1000000)::bigint::text
$$;

-- The name of this transaction's claim, once its MAC is right; null where none is made.
-- What a caller can set (to print plans, to log to the client) shows nothing of what is in here.
create function sovereign.claimed() returns text
language plpgsql stable security definer
set search_path = pg_catalog, sovereign, pg_temp
set client_min_messages = error set plan_cache_mode = force_generic_plan as $$
declare
  made text := coalesce(current_setting('sovereign.claim', true), '');
  claim text := substr(made, 65);
  pads record;
begin
  if made = '' then return null; end if;
  select * into pads from claim_pads(claim);
  if left(made, 64) !~ '^[0-9a-f]{64}$' or claim = 'tenant/installation'
    or sha256(decode(left(made, 64), 'hex')) <> sha256(sha256(pads.outer_pad || sha256(
      pads.inner_pad || convert_to('sovereign.transaction/' || challenge(), 'UTF8'))))
  then
    raise exception 'the claim is not one for this transaction' using errcode = 'insufficient_privilege';
  end if;
  return claim;
end $$;

-- The log whose rows this transaction may read.
create function sovereign.claimed_log() returns text
language sql stable security definer set search_path = pg_catalog, sovereign, pg_temp as $$
  select case
    when left(c, 7) = 'tenant/' then substr(c, 8)
    when left(c, 13) = 'installation/' then 'installation'
  end from claimed() c
$$;

-- The log that this transaction may write to, by functions of this kind; null for any kind.
create function sovereign.writing_log(kind text) returns text
language plpgsql stable set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  claim text := claimed();
begin
  if left(claim, 7) = 'tenant/' then return substr(claim, 8); end if;
  if claim = 'installation/' || kind
    or kind is null and left(claim, 13) = 'installation/' and claim <> 'installation/read'
  then return 'installation'; end if;
  raise exception 'this needs a claim of the log' using errcode = 'insufficient_privilege';
end $$;

do $$
declare name text;
begin
  foreach name in array array[
    'logs', 'entries', 'envelopes', 'nonces', 'nodes', 'checkpoints', 'runs', 'steps'
  ] loop
    execute format('drop policy tenant_rows on sovereign.%I', name);
    execute format(
      'create policy claimed_rows on sovereign.%I for select to sovereign_app
         using (log_id = (select sovereign.claimed_log()))', name);
  end loop;
end $$;

do $$
declare f text;
begin
  foreach f in array array[
    'hmac_pad', 'claim_pads', 'challenge', 'claimed', 'claimed_log', 'writing_log', 'refuse_change'
  ] loop
    execute format('alter function sovereign.%I owner to sovereign_owner', f);
    execute format('revoke all on function sovereign.%I from public', f);
  end loop;
  foreach f in array array['challenge', 'claimed_log'] loop
    execute format('grant execute on function sovereign.%I to sovereign_app', f);
  end loop;
end $$;
