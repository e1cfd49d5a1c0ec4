ALTER TABLE legacy_codes RENAME COLUMN label TO caption;
ALTER TABLE legacy_codes RENAME TO codes;

ALTER TABLE orders DROP COLUMN note;
DROP INDEX IF EXISTS idx_users_lower_email;
DROP INDEX idx_users_status;
ALTER TABLE users ALTER COLUMN status SET DEFAULT 'invited', ALTER COLUMN locale DROP DEFAULT;
ALTER TABLE products DROP CONSTRAINT products_price_not_negative;
