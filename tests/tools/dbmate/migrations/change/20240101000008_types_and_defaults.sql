-- migrate:up
-- No rewrite: the old values fit as they are.
ALTER TABLE users ALTER COLUMN name TYPE varchar(100);
ALTER TABLE products ALTER COLUMN title TYPE text;
-- A rewrite of the table and its indexes.
ALTER TABLE legacy_codes ALTER COLUMN code TYPE bigint;
ALTER TABLE orders ALTER COLUMN state SET DEFAULT 'open';

-- migrate:down
ALTER TABLE orders ALTER COLUMN state SET DEFAULT 'new';
ALTER TABLE legacy_codes ALTER COLUMN code TYPE integer;
ALTER TABLE products ALTER COLUMN title TYPE varchar(100);
ALTER TABLE users ALTER COLUMN name TYPE varchar(50);
