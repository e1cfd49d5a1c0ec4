-- What psql can do, in one script. Meant to be run with -XAq -f, in a directory of its own.
\set VERBOSITY verbose
\set SHOW_CONTEXT always
\pset tuples_only off
\pset footer off

\echo == copies
CREATE TABLE t(a int PRIMARY KEY, b text);
COPY t FROM STDIN;
1	one
2	zwei ü
3	\N
\.
\copy t FROM PROGRAM 'for n in $(seq 10 5000); do printf "%d\tline %d\n" $n $n; done'
\copy (SELECT * FROM t ORDER BY a) TO 'all.csv' WITH (FORMAT csv, HEADER)
CREATE TABLE u(LIKE t INCLUDING ALL);
\copy u FROM 'all.csv' WITH (FORMAT csv, HEADER)
COPY (SELECT count(*), sum(a), count(b) FROM u) TO STDOUT WITH (FORMAT csv);
\copy u FROM 'all.csv' WITH (FORMAT csv, HEADER)
COPY u FROM STDIN;
not a number	x
\.
COPY nowhere FROM STDIN;
\copy u FROM 'no such file'
SELECT count(*) FROM u;
BEGIN \; COPY u(a) FROM STDIN \; SELECT count(*) FROM u \; ROLLBACK;
-1
-2
\.

\echo == statements
SELECT 1 AS one \; SELECT 2 AS two \; SELECT 'three' AS three;
SELECT 1 AS one \; SELECT 1/0 \; CREATE TABLE not_made(a int);
SELECT to_regclass('not_made') IS NULL AS undone;
SELECT format('CREATE INDEX by_%s ON t(%s)', a, a) FROM (VALUES ('a'), ('b')) x(a) \gexec
SELECT 'CREATE INDEX by_a ON t(a)' UNION ALL SELECT 'SELECT ''after the failure''' \gexec
SELECT a AS from_t, b FROM t WHERE a = 2 \gset
\echo :from_t :b
SELECT 1::int8 AS a, NULL::numeric(5, 2) AS b, t FROM t \gdesc
SELECT * FROM t WHERE a < 3 ORDER BY a \gx
SELECT a, b FROM t ORDER BY a LIMIT 2 \g (format=csv) out.csv
\! cat out.csv
SELECT :VERSION_NUM >= 160000 AS has_bind \gset
\if :has_bind
    \ir psql_bind.sql
\endif
\set FETCH_COUNT 100
SELECT a FROM t WHERE a BETWEEN 10 AND 260 ORDER BY a \g rows
\! cksum rows
SELECT 5 / (a - 250) AS quotient FROM t WHERE a BETWEEN 10 AND 260 ORDER BY a \g rows
CREATE INDEX while_fetching ON t(b, a);
\unset FETCH_COUNT
SELEC 1;
SELECT nothing
FROM t;
\errverbose
DO $$ BEGIN RAISE NOTICE 'noticed' USING DETAIL = 'a detail', HINT = 'a hint'; PERFORM 1/0; END $$;
PREPARE one(int) AS SELECT $1 + 1 AS sum;
EXECUTE one(41);
DEALLOCATE one;
EXECUTE one(41);
SET client_encoding = LATIN1;
SELECT encode(convert_to(U&'\00e4', 'UTF8'), 'hex') AS hex, length(b) FROM t WHERE a = 2;
RESET client_encoding;
SELECT repeat('wide ', 100000) \g wide
\! cksum wide

\echo == transactions
BEGIN;
ALTER TABLE t ADD COLUMN c int;
SAVEPOINT s;
SELECT 1/0;
CREATE INDEX ON t(c);
ROLLBACK TO s;
CREATE INDEX in_a_block ON t(c);
COMMIT;
\set AUTOCOMMIT off
CREATE TABLE without_autocommit(a int);
CREATE INDEX ON without_autocommit(a);
ROLLBACK;
SELECT to_regclass('without_autocommit') IS NULL AS undone;
COMMIT;
\set AUTOCOMMIT on
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT 1/0;
ALTER TABLE t ADD COLUMN d int;
COMMIT;
\unset ON_ERROR_ROLLBACK

\echo == schema changes
CREATE UNIQUE INDEX not_unique ON t((a % 10));
ALTER TABLE t ADD CHECK (a > 0), ALTER COLUMN b SET DEFAULT 'x';
CREATE INDEX IF NOT EXISTS by_a ON t(a);
ALTER TABLE nowhere ADD COLUMN a int;
CREATE INDEX CONCURRENTLY own ON t(a, b);
DROP INDEX own, by_b;
REINDEX TABLE t;
CREATE MATERIALIZED VIEW m AS SELECT a FROM t;
CREATE UNIQUE INDEX ON m(a);
REFRESH MATERIALIZED VIEW CONCURRENTLY m;
VACUUM ANALYZE t;
TRUNCATE u;
\d t
\d+ m
\di
\dt
\df
\l no_such_database

\echo == large objects
\lo_import all.csv 'a comment'
\lo_export :LASTOID exported.csv
\! cmp all.csv exported.csv && echo exported
\lo_unlink :LASTOID
\lo_unlink 1
SELECT count(*) FROM pg_largeobject_metadata;

\echo == another session
LISTEN news;
\connect
NOTIFY news, 'nobody listens';
LISTEN news;
SELECT pg_notify('news', 'to myself ✉');
UNLISTEN *;
\connect no_such_database
