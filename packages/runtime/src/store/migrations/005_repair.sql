-- What a repair of the ledger took for no evidence: kept, and out of the way of what is.
create table sovereign.set_aside (
  log_id text collate "C" not null,
  kind text not null,
  place bigint not null,
  reason text not null,
  row_was jsonb not null,
  at timestamptz not null default clock_timestamp()
);
create index set_aside_by_place on sovereign.set_aside (log_id, kind, place);
alter table sovereign.set_aside owner to sovereign_owner;
revoke all on sovereign.set_aside from public, sovereign_app;

-- Evidence stays append-only. What was set aside moves: a signed head or a node of the tree, which are
-- computed from entries, out of its table; an entry to a stream of its own, with its bytes and its place
-- in the log, so that the tree over it does not change.
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
      and new.bytes = old.bytes and left(new.stream, 10) = 'set-aside/'
      and exists (select from set_aside s
        where s.log_id = old.log_id and s.kind = 'entry' and s.place = old.index)
    then
      return new;
    end if;
  end if;
  raise exception 'evidence is append-only: % on % is refused', tg_op, tg_table_name
    using errcode = 'insufficient_privilege';
end $$;
