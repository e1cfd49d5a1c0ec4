-- The extended protocol, for psql from 16 on. Included by psql.sql.
SELECT $1::int + $2 AS sum \bind 1 2 \g
ALTER TABLE t ADD COLUMN bound int \bind \g
CREATE INDEX bound_index ON t(bound) \bind \g
SELECT $1 \bind \g
DROP INDEX bound_index \bind \g
ALTER TABLE t DROP COLUMN bound;
