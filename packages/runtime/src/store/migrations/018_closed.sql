-- What a call does not say, it does not get. To SQL, a comparison with a value that is missing is neither
-- true nor false: so no value of a call may be missing, and each judgement is one that lets nothing pass
-- but what is true.

-- Whether this array is a column of a call: one dimension that counts from 1, so many elements, none missing.
create function sovereign.is_column(one anyarray, elements int) returns boolean
language sql immutable as $$
  select (array_ndims(one) = 1 and array_lower(one, 1) = 1 and cardinality(one) = elements
    and array_position(one, null) is null) is true
$$;
-- Whether this column names items, or logs, of which there are so many.
create function sovereign.is_part(numbers int[], items int) returns boolean
language sql immutable as $$
  select (sovereign.is_column(numbers, cardinality(numbers))
    and 0 < all (numbers) and items >= all (numbers)) is true
$$;

-- Before anything else in `commit_batch`: what may be missing is a group of columns that items may have,
-- as a whole, and the rows. Each log of the batch is one that an item writes to, so that nobody has a log
-- locked without its claim.
select sovereign.amend_commit('if current_setting(''transaction_isolation'') <> ''read committed'' then', '
  locked := cardinality(item_log);
  at := cardinality(entry_item);
  if (batch is not null and octet_length(batch) <= 100
    and is_column(commit_batch.logs, cardinality(commit_batch.logs))
    and is_column(claim_name, cardinality(claim_name))
    and is_column(claim_mac, cardinality(claim_name))
    and is_column(item_log, locked) and is_column(item_stream, locked)
    and is_column(item_count, locked) and is_column(item_head, locked)
    and is_part(entry_item, locked) and is_part(entry_log, cardinality(commit_batch.logs))
    and is_column(entry_log, at) and is_column(entry_place, at) and is_column(entry_sequence, at)
    and is_column(entry_stream, at) and is_column(entry_bytes, at)
    and (num_nulls(fence_item, fence_run, fence_epoch) = 3 or is_part(fence_item, locked)
      and is_column(fence_run, cardinality(fence_item))
      and is_column(fence_epoch, cardinality(fence_item)))
    and (num_nulls(key_item, key_epoch) = 2 or is_part(key_item, locked)
      and is_column(key_epoch, cardinality(key_item)))
    and (num_nulls(nonce_item, nonce_value, nonce_expires) = 3 or is_part(nonce_item, locked)
      and is_column(nonce_value, cardinality(nonce_item))
      and is_column(nonce_expires, cardinality(nonce_item)))
    and (num_nulls(envelope_item, envelope_digest, envelope_bytes) = 3 or is_part(envelope_item, locked)
      and is_column(envelope_digest, cardinality(envelope_item))
      and is_column(envelope_bytes, cardinality(envelope_item)))
    and case when cardinality(commit_batch.logs) = 1
      then entry_place = array(select p from generate_series(0::bigint, at - 1) p)
      else not exists (select unnest(commit_batch.logs) except select unnest(item_log))
        and cardinality(commit_batch.logs) = (select count(distinct l) from unnest(commit_batch.logs) l)
        and not exists (
          select from (
            select e.item, e.log, e.place, row_number() over (partition by e.log order by e.at) as number
            from unnest(entry_item, entry_log, entry_place) with ordinality e (item, log, place, at)) e
          where e.place + 1 <> e.number or commit_batch.logs[e.log] <> item_log[e.item])
    end) is not true
  then
    raise exception ''the call is not that of a batch'' using errcode = ''insufficient_privilege'';
  end if;
  ', '');
select sovereign.amend_commit('if coalesce(wrong, true) then', 'if message is null then wrong := true; end if;
  ', '');

-- The name of this transaction's claim, as before.
create or replace function sovereign.claimed() returns text
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
  if (left(made, 64) ~ '^[0-9a-f]{64}$' and claim <> 'tenant/installation'
    and sha256(decode(left(made, 64), 'hex')) = sha256(sha256(pads.outer_pad || sha256(
      pads.inner_pad || convert_to('sovereign.transaction/' || challenge(), 'UTF8'))))) is not true
  then
    raise exception 'the claim is not one for this transaction' using errcode = 'insufficient_privilege';
  end if;
  return claim;
end $$;

-- A call of these without one of its arguments does nothing at all.
alter function sovereign.claim_run strict;
alter function sovereign.abandon_batch strict;
alter function sovereign.save_checkpoint strict;
alter function sovereign.issue_claim strict;
alter function sovereign.replace_incidents strict;
alter function sovereign.token_issue strict;
alter function sovereign.token_revoke strict;
alter function sovereign.token_find strict;
alter function sovereign.content_begin strict;
alter function sovereign.content_put strict;
alter function sovereign.beat_worker strict;
alter function sovereign.finish_queued strict;

select sovereign.guard_functions('is_column', 'is_part');
