-- Tokens of the HTTP API. Of a token the database has its SHA-256 alone, and whoever claims a tenant's rows
-- does not read even that. Who may use the API is not the tenant's to decide: rows are written with the
-- installation's claim for tokens.
create table sovereign.tokens (
  log_id text collate "C" not null check (log_id <> 'installation'),
  token_id text collate "C" not null check (token_id ~ '^tok_[a-z0-9]{20}$'),
  hash bytea not null unique check (octet_length(hash) = 32),
  label text not null check (octet_length(label) <= 400),
  scopes text[] not null check (cardinality(scopes) between 1 and 20),
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  revoked_at timestamptz,
  primary key (log_id, token_id)
);

-- A token keeps what it is; it may be revoked, once.
create function sovereign.keep_token() returns trigger language plpgsql
set search_path = pg_catalog, sovereign, pg_temp as $$
begin
  if tg_op = 'UPDATE' and old.revoked_at is null and new.revoked_at is not null
    and (new.log_id, new.token_id, new.hash, new.label, new.scopes, new.created_at, new.expires_at)
      is not distinct from
      (old.log_id, old.token_id, old.hash, old.label, old.scopes, old.created_at, old.expires_at)
  then
    return new;
  end if;
  raise exception 'a token is revoked, and not changed: % is refused', tg_op
    using errcode = 'insufficient_privilege';
end $$;
create trigger keep_token before update or delete on sovereign.tokens
  for each row execute function sovereign.keep_token();
create trigger no_truncate before truncate on sovereign.tokens
  for each statement execute function sovereign.keep_token();

select sovereign.guard_tables('tokens');
revoke select on sovereign.tokens from sovereign_app;
grant select (log_id, token_id, label, scopes, created_at, expires_at, revoked_at)
  on sovereign.tokens to sovereign_app;

-- Whoever claims a tenant's rows writes that tenant's log, and makes no token.
create function sovereign.claim_tokens() returns void
language plpgsql stable set search_path = pg_catalog, sovereign, pg_temp as $$
begin
  if writing_log('tokens') <> 'installation' then
    raise exception 'this needs the claim for tokens' using errcode = 'insufficient_privilege';
  end if;
end $$;

-- @returns whether it was taken: no tenant has more than 1000 that count.
create function sovereign.token_issue(
  log text, id text, token_hash bytea, token_label text, token_scopes text[], expires timestamptz
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, sovereign, pg_temp set client_min_messages = error
set lock_timeout = '2s' as $$
begin
  perform claim_tokens();
  if (select count(*) from tokens t
      where t.log_id = log and t.revoked_at is null and t.expires_at > clock_timestamp()) >= 1000
  then return false; end if;
  insert into tokens (log_id, token_id, hash, label, scopes, expires_at)
  values (log, id, token_hash, token_label, token_scopes, expires);
  return true;
end $$;

-- @returns whether there is such a token. Revoked twice is revoked once.
create function sovereign.token_revoke(log text, id text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, sovereign, pg_temp set client_min_messages = error
set lock_timeout = '2s' as $$
begin
  perform claim_tokens();
  update tokens t set revoked_at = clock_timestamp()
  where t.log_id = log and t.token_id = id and t.revoked_at is null;
  return exists (select from tokens t where t.log_id = log and t.token_id = id);
end $$;

-- Whose token it is, and whether it counts now: by the server's clock, which is everybody's.
create function sovereign.token_find(token_hash bytea)
returns table (tenant text, id text, granted text[], expires timestamptz, state text)
language plpgsql stable security definer
set search_path = pg_catalog, sovereign, pg_temp set client_min_messages = error as $$
begin
  perform claim_tokens();
  return query select t.log_id, t.token_id, t.scopes, t.expires_at,
    case
      when t.revoked_at is not null then 'revoked'
      when t.expires_at <= clock_timestamp() then 'expired'
      else 'valid'
    end
  from tokens t where t.hash = token_hash;
end $$;

create function sovereign.token_count() returns bigint
language plpgsql stable security definer
set search_path = pg_catalog, sovereign, pg_temp set client_min_messages = error as $$
begin
  perform claim_tokens();
  return (select count(*) from tokens t
    where t.revoked_at is null and t.expires_at > clock_timestamp());
end $$;

select sovereign.guard_functions(
  'keep_token', 'claim_tokens', 'token_issue', 'token_revoke', 'token_find', 'token_count'
);
grant execute on function sovereign.token_issue, sovereign.token_revoke, sovereign.token_find,
  sovereign.token_count to sovereign_app;
