-- What psql and pg_dump write is read; objects of the script are known.
\set ON_ERROR_STOP on
\connect shop
CREATE TABLE new_one (id int, note text);
COPY new_one (id, note) FROM stdin;
1	it's not SQL: "
2	\N
\.
CREATE INDEX new_one_note ON new_one (note);

BEGIN;
CREATE INDEX users_email_idx
    ON users (email);
SAVEPOINT a;
CREATE TABLE forgotten (id int);
ROLLBACK TO a;
CREATE INDEX forgotten_id ON forgotten (id);
COMMIT;

CREATE INDEX CONCURRENTLY users_name_idx ON users (name);
DROP INDEX :idx;
/* lockkeeper: allow(lock-queue) because it is tiny */ CREATE TABLE orders_2 AS SELECT 1;
SELECT 1 \g
DO $$ BEGIN EXECUTE 'DROP TABLE users'; END $$;
