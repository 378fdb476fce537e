-- Contents of a tenant's runs that every node reaches: bytes under a digest, in pieces. What has a name
-- keeps it: bytes are written once, and whoever reads holds them against the digest.
create table sovereign.contents (
  log_id text collate "C" not null check (log_id <> 'installation'),
  digest text collate "C" not null check (digest ~ '^[0-9a-f]{64}$'),
  pieces int not null check (pieces between 0 and 256),
  primary key (log_id, digest)
);
create table sovereign.content_pieces (
  log_id text collate "C" not null,
  digest text collate "C" not null,
  piece int not null check (piece between 0 and 255),
  bytes bytea not null check (octet_length(bytes) between 1 and 1048576),
  primary key (log_id, digest, piece)
);
-- They are compressed files or texts: PostgreSQL would try for nothing.
alter table sovereign.content_pieces alter column bytes set storage external;
select sovereign.guard_tables('contents', 'content_pieces');

-- @returns whether the claimed log's tenant has no such content yet, and its pieces are to be put
create function sovereign.content_begin(name text, count int) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, sovereign, pg_temp set client_min_messages = error
set lock_timeout = '10s' as $$
begin
  insert into contents (log_id, digest, pieces) values (writing_log('content'), name, count)
  on conflict (log_id, digest) do nothing;
  return found;
end $$;

-- A piece of what was begun in the same transaction: what is whole takes no other piece.
create function sovereign.content_put(name text, at int, part bytea) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, sovereign, pg_temp set client_min_messages = error
set lock_timeout = '10s' as $$
declare
  log text := writing_log('content');
begin
  if not exists (select from contents c where c.log_id = log and c.digest = name
    and at < c.pieces and c.xmin = pg_current_xact_id()::xid)
  then
    raise exception 'a content is written whole, in one transaction' using errcode = 'insufficient_privilege';
  end if;
  insert into content_pieces (log_id, digest, piece, bytes) values (log, name, at, part);
end $$;
select sovereign.guard_functions('content_begin', 'content_put');
grant execute on function sovereign.content_begin, sovereign.content_put to sovereign_app;
