SET LOCAL lock_timeout = '1min';

ALTER TABLE users ALTER COLUMN email TYPE VARCHAR(100);
ALTER TABLE products ALTER COLUMN title TYPE TEXT;
-- A rewrite.
ALTER TABLE legacy_codes ALTER COLUMN code TYPE BIGINT;
