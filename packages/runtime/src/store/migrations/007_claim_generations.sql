-- A tenant's claim can be replaced: its secret is derived with a generation, and with the next one the
-- former secret claims nothing any more.
create table sovereign.claim_generations (
  name text collate "C" primary key check (left(name, 7) = 'tenant/'),
  generation int not null check (generation > 0)
);
alter table sovereign.claim_generations owner to sovereign_owner;
revoke all on sovereign.claim_generations from public, sovereign_app;

-- The padded keys of a claim, in a generation: HKDF-Expand (RFC 5869) of the installation's secret.
create function sovereign.derive_pads(
  claim text, generation int, out inner_pad bytea, out outer_pad bytea
)
language plpgsql stable set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  label text := 'sovereign.claim' || case when generation > 0 then '.' || generation else '' end || '/';
  key bytea;
begin
  select sha256(hmac_pad(s.secret, 92) || sha256(hmac_pad(s.secret, 54)
    || convert_to(label || claim, 'UTF8') || decode('01', 'hex')))
  into strict key from claim_secret s;
  inner_pad := hmac_pad(key, 54);
  outer_pad := hmac_pad(key, 92);
end $$;

create or replace function sovereign.claim_pads(claim text, out inner_pad bytea, out outer_pad bytea)
language plpgsql stable set search_path = pg_catalog, sovereign, pg_temp as $$
begin
  select k.inner_pad, k.outer_pad into inner_pad, outer_pad from claim_keys k where k.name = claim;
  if found then return; end if;
  select p.inner_pad, p.outer_pad into inner_pad, outer_pad
  from derive_pads(claim,
    coalesce((select g.generation from claim_generations g where g.name = claim), 0)) p;
end $$;

-- Who writes is judged by the claims of now: a snapshot from before a claim was replaced still has it.
create or replace function sovereign.writing_log(kind text) returns text
language plpgsql stable set search_path = pg_catalog, sovereign, pg_temp as $$
declare
  claim text := claimed();
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'a claim is judged by what is committed: read committed is needed'
      using errcode = 'insufficient_privilege';
  end if;
  if left(claim, 7) = 'tenant/' then return substr(claim, 8); end if;
  if claim = 'installation/' || kind
    or kind is null and left(claim, 13) = 'installation/' and claim <> 'installation/read'
  then return 'installation'; end if;
  raise exception 'this needs a claim of the log' using errcode = 'insufficient_privilege';
end $$;

-- For the database's owner alone. The keys are kept from here on, so that nobody who opens the log with
-- the former secret in this moment puts those of the former generation in their place.
create function sovereign.issue_claim(claim text, claim_generation int) returns void
language plpgsql volatile security definer set search_path = pg_catalog, sovereign, pg_temp
set lock_timeout = '5s' as $$
begin
  lock table claim_generations in share row exclusive mode;
  if claim_generation <> coalesce(
    (select g.generation from claim_generations g where g.name = claim), 0)
  then
    if claim_generation <> 1 + coalesce(
      (select g.generation from claim_generations g where g.name = claim), 0)
    then
      raise exception 'the claim was replaced meanwhile' using errcode = 'serialization_failure';
    end if;
    insert into claim_generations values (claim, claim_generation)
    on conflict (name) do update set generation = excluded.generation;
  end if;
  insert into claim_keys (name, inner_pad, outer_pad)
  select claim, p.inner_pad, p.outer_pad from derive_pads(claim, claim_generation) p
  on conflict (name) do update
    set inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad;
end $$;

-- For a control process that makes the claims of all tenants, and must know of one that was replaced.
create function sovereign.list_generations() returns setof sovereign.claim_generations
language plpgsql stable security definer set search_path = pg_catalog, sovereign, pg_temp as $$
begin
  if claimed() is distinct from 'installation/read' then
    raise exception 'this needs a claim of the installation' using errcode = 'insufficient_privilege';
  end if;
  return query select * from claim_generations;
end $$;

do $$
declare f text;
begin
  foreach f in array array['derive_pads', 'issue_claim', 'list_generations'] loop
    execute format('alter function sovereign.%I owner to sovereign_owner', f);
    execute format('revoke all on function sovereign.%I from public', f);
  end loop;
  grant execute on function sovereign.list_generations to sovereign_app;
end $$;
