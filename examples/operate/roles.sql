-- For a PostgreSQL of your own, run once as a superuser, in the database `sovereign`. Then the role of
-- DATABASE_URL needs no right to make roles. Set a password of your own.
create role sovereign_owner nologin;
create role sovereign_app login;
create role sovereign login password 'REPLACE-ME' in role sovereign_owner, sovereign_app;
grant sovereign_app to sovereign_owner;
alter database sovereign owner to sovereign;
-- What PostgreSQL lets every role do, and nobody needs here: docs/spec/ledger.md.
revoke temporary on database sovereign from public;
revoke create on schema public from public;
grant create on schema public to sovereign;
revoke execute on function pg_terminate_backend(int, bigint), pg_cancel_backend(int) from public;
grant execute on function pg_terminate_backend(int, bigint) to sovereign_owner;
